//! Fills in the placeholders of a configured text.

use stagedoor_model::name_for_messages;

/// Words before a fact that go with it, the longest first.
const WORDS: [&str; 5] = ["в городе ", "город ", "г. ", "in ", ""];

/// What joins a fact to a text: what stands before and after it, and what is left of both. The longest come first.
const FRAMES: [(&str, &str, &str); 8] = [
    (" (", ")", ""),
    ("(", ", ", "("),
    ("(", " — ", "("),
    ("(", " · ", "("),
    ("(", " ", "("),
    (" — ", "", ""),
    (" · ", "", ""),
    (", ", "", ""),
];

/// How a date or a time begins.
const DATES: [&str; 22] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "January ",
    "February ",
    "March ",
    "April ",
    "May ",
    "June ",
    "July ",
    "August ",
    "September ",
    "October ",
    "November ",
    "December ",
];

/// Fills in the name, or removes its placeholder with the comma before it. A name that is not plain is left out.
pub(crate) fn fill_name(text: &str, name: Option<&str>) -> String {
    match name.and_then(name_for_messages) {
        Some(name) => text.replace("{name}", name),
        None => text.replace(", {name}", "").replace("{name}, ", "").replace("{name}", ""),
    }
}

/// Fills in a fact about a show, or removes its placeholder with what joins it to the text: brackets, a comma, a
/// space.
pub(crate) fn fill_fact(text: &str, place: &str, fact: Option<&str>) -> String {
    if let Some(fact) = fact {
        return text.replace(place, fact);
    }
    let mut text = without_lead(text, place);
    for word in WORDS {
        let place = format!("{word}{place}");
        for (before, after, left) in FRAMES {
            text = text.replace(&format!("{before}{place}{after}"), left);
        }
        // A comma before a date or a time belonged to the fact.
        for date in DATES {
            text = text.replace(&format!(" {place}, {date}"), &format!(" {date}"));
        }
        text = match word.is_empty() {
            true => text.replace(&format!("{place}, "), "").replace(&format!(" {place}"), "").replace(&place, ""),
            // A word may end like this one: "again {city}".
            false => without_words(&text.replace(&format!(" {place}"), ""), &place),
        };
    }
    text.trim_start().to_owned()
}

/// Removes words that no letter and no digit stands before.
fn without_words(text: &str, words: &str) -> String {
    let mut left = String::new();
    for (index, part) in text.split(words).enumerate() {
        if index > 0 && left.chars().last().is_some_and(char::is_alphanumeric) {
            left.push_str(words);
        }
        left.push_str(part);
    }
    left
}

/// A text that begins with the fact begins with what follows it.
fn without_lead(text: &str, place: &str) -> String {
    for word in WORDS {
        let lead = format!("{}{place}", capitalised(word));
        for after in [": ", " — ", " · ", ", ", " "] {
            if let Some(rest) = text.strip_prefix(&lead).and_then(|rest| rest.strip_prefix(after)) {
                return capitalised(rest);
            }
        }
    }
    text.to_owned()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::fill_fact;

    #[test]
    fn a_fact_that_nobody_told_leaves_a_text_that_reads_well() {
        for (text, without) in [
            ("«Сад» ({city}) переносится: завтра.", "«Сад» переносится: завтра."),
            ("«Сад» ({city}, завтра) отменяется.", "«Сад» (завтра) отменяется."),
            ("«Сад» (завтра, {city}) отменяется.", "«Сад» (завтра) отменяется."),
            ("«Сад», {city}, отменяется.", "«Сад», отменяется."),
            ("«Сад» {city} отменяется.", "«Сад» отменяется."),
            ("{city}, «Сад» отменяется.", "«Сад» отменяется."),
            ("{city}: «Сад» отменяется.", "«Сад» отменяется."),
            ("{city} ждёт «Сад».", "Ждёт «Сад»."),
            ("{city} — «Сад»", "«Сад»"),
            ("{city} · «Сад»", "«Сад»"),
            ("В городе {city} отменяется «Сад»", "Отменяется «Сад»"),
            ("In {city}, Garden is off", "Garden is off"),
            ("«Сад» (в городе {city}) отменяется", "«Сад» отменяется"),
            ("Garden (in {city}) is off", "Garden is off"),
            ("«Сад» ({city} завтра) отменяется.", "«Сад» (завтра) отменяется."),
            ("«Сад» ({city} — завтра)", "«Сад» (завтра)"),
            ("«Сад» — {city} — завтра", "«Сад» — завтра"),
            ("Сад, город {city}, завтра", "Сад, завтра"),
            ("Код на «Сад» в городе {city}: 15", "Код на «Сад»: 15"),
            ("The code for Garden in {city}: 15", "The code for Garden: 15"),
            ("Ждём в городе {city}, 5 мая", "Ждём 5 мая"),
            ("See you in {city}, May 5", "See you May 5"),
            ("See you in {city}, 5 May", "See you 5 May"),
            ("See you soon, in {city}.", "See you soon."),
            ("Концерт в городе {city}.", "Концерт."),
            ("Концерт в городе {city}, на который у вас билет", "Концерт, на который у вас билет"),
            ("Garden is on again {city}", "Garden is on again"),
            ("Новгород {city}", "Новгород"),
            ("«in {city}»", "«»"),
            ("Ждём!\nв городе {city}", "Ждём!\n"),
            ("Your show in {city}, Garden, is off", "Your show, Garden, is off"),
        ] {
            assert_eq!(fill_fact(text, "{city}", None), without);
        }
        assert_eq!(fill_fact("«Сад» ({city})", "{city}", Some("Казань")), "«Сад» (Казань)");
    }

    #[test]
    fn brackets_go_with_the_last_fact_in_them() {
        let text = fill_fact("«Сад» ({city}, {when}) отменяется.", "{city}", None);
        assert_eq!(fill_fact(&text, "{when}", None), "«Сад» отменяется.");
    }
}
