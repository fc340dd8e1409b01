//! Fills in the placeholders of a configured text.

use stagedoor_model::name_for_messages;

/// What joins a fact to a text. Without the fact, this goes, too. The longest forms come first.
const JOINTS: [(&str, &str, &str); 13] = [
    (" (", ")", ""),
    ("(", ", ", "("),
    ("(", " ", "("),
    (" в городе ", ", ", " "),
    (" в городе ", "", ""),
    (" in ", ", ", " "),
    (" in ", "", ""),
    (" — ", "", ""),
    (" · ", "", ""),
    (", ", "", ""),
    ("", ", ", ""),
    (" ", "", ""),
    ("", "", ""),
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
    let without = |text: String, (before, after, left): &(&str, &str, &str)| {
        text.replace(&format!("{before}{place}{after}"), left)
    };
    JOINTS.iter().fold(text.to_owned(), without).trim_start().to_owned()
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
            ("{city} ждёт «Сад».", "ждёт «Сад»."),
            ("«Сад» ({city} завтра) отменяется.", "«Сад» (завтра) отменяется."),
            ("«Сад» — {city} — завтра", "«Сад» — завтра"),
            ("Код на «Сад» в городе {city}: 15", "Код на «Сад»: 15"),
            ("The code for Garden in {city}: 15", "The code for Garden: 15"),
            ("Ждём в городе {city}, 5 мая", "Ждём 5 мая"),
            ("See you in {city}, May 5", "See you May 5"),
            ("Концерт в городе {city}.", "Концерт."),
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
