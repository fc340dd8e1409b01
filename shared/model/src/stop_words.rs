//! What says that somebody wants no more messages: one list for chats and SMS.
//!
//! СТОП is what Russian operators teach (38-FZ art. 18 asks to stop at once), STOP and its kin are CTIA's. People seldom write the
//! bare word: "Стоп, спасибо", "отпишите меня", "СТОП 7". A message counts that begins with such a word and goes on with little
//! else. What only smells of it ("как от вас отписаться?") is for a manager to read.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;

use crate::breakage;

mod lists;

use lists::{AFTER_STOP, ALONE, ALONE_UNASKED, AROUND, BARE, BEFORE_STOP, BEGIN, OWN, POLITE, SMELLS};

/// What a message says about being written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopWish {
    /// Nothing.
    None,
    /// Perhaps that they want no more messages: a person has to read it.
    Doubtful,
    /// They want no more messages.
    Certain,
}

/// Characters of a message that may stop.
const MAX_LENGTH: usize = 100;

/// What a message says about being written to. `own`: further words of the config that begin a message that stops.
pub fn stop_wish(text: &str, own: &BTreeSet<String>) -> StopWish {
    let words = words(without_signature(text));
    let said = words.join(" ");
    let own = own.iter().map(String::as_str);
    let begin: Vec<String> = BEGIN.iter().copied().chain(own).map(|one| self::words(one).join(" ")).collect();
    if breakage::is_on("stop-words-whole-line-only") {
        return if begin.contains(&said) { StopWish::Certain } else { StopWish::None };
    }
    let is_plain = breakage::is_on("stop-sentences-unheard");
    let spelled: String = words.iter().filter(|word| word.chars().count() == 1).map(String::as_str).collect();
    let is_spelled = spelled.chars().count() == words.len() && words.len() > 2;
    if is_spelled && begin.contains(&spelled) {
        return StopWish::Certain;
    }
    let alone: Vec<String> = ALONE.iter().map(|one| self::words(one).join(" ")).collect();
    let is_short = without_signature(text).trim().chars().count() <= MAX_LENGTH && !text.contains('?');
    // "Cancel 1234" is about an order.
    let has_number = words.iter().any(|word| word.chars().all(|c| c.is_ascii_digit()));
    let polite: Vec<String> = POLITE.iter().map(|one| folded(one)).collect();
    let rest: Vec<&str> = words.iter().filter(|word| !polite.contains(word)).map(String::as_str).collect();
    let rest = rest.join(" ");
    let unasked = ALONE_UNASKED.iter().any(|one| self::words(one).join(" ") == rest);
    let is_polite = is_short && !has_number && (unasked || alone.contains(&rest)) && !is_plain;
    let alone = alone.contains(&said) || is_polite;
    let bare: Vec<String> = BARE.iter().map(|one| self::words(one).join(" ")).collect();
    if alone || (is_short && (begins(&words, &begin, 1) || begins(&words, &bare, 0))) {
        return StopWish::Certain;
    }
    let first = words.iter().find(|word| !is_around(word));
    let stops = |word: &&String| ["стоп", "stop"].iter().any(|one| folded(one) == **word);
    let phrases = || begin.iter().chain(&bare).filter(|one| one.contains(' '));
    let inside = (0..words.len()).any(|from| phrases().any(|one| length(words.get(from..), one).is_some()));
    // "Стоп, я больше не хочу это получать": the second half says what the first means.
    if is_short && inside && first.filter(stops).is_some() && !breakage::is_on("stop-words-plain") {
        return StopWish::Certain;
    }
    // "Стоп пожалуйста, не надо больше": nothing else stands beside the two.
    let after = || AFTER_STOP.iter().map(|one| self::words(one).join(" "));
    let goes_on = first.filter(stops).is_some() && after().any(|one| begins_stopped(&words, &one));
    if is_short && goes_on && !is_plain {
        return StopWish::Certain;
    }
    let is_before = |word: &&String| is_around(word) || BEFORE_STOP.iter().any(|one| folded(one) == **word);
    let first = if is_plain { first } else { words.iter().find(|word| !is_before(word)) };
    let smells = SMELLS.iter().any(|one| said.contains(&folded(one)));
    if smells || inside || first.filter(stops).is_some() { StopWish::Doubtful } else { StopWish::None }
}

/// Whether a message says that nothing more is wanted.
pub fn is_stop_word(text: &str) -> bool {
    stop_wish(text, &BTreeSet::new()) == StopWish::Certain
}

/// Whether it begins so, with at most so many words beside it that are not around such words anyway.
fn begins(words: &[String], begin: &[String], beside: usize) -> bool {
    let lead = words.iter().take_while(|word| is_around(word)).count();
    // "Больше не пишите" begins with a word that may also stand around.
    (0..=lead).any(|from| {
        let rest = words.get(from..).unwrap_or_default();
        begin.iter().filter(|one| !one.is_empty()).any(|one| {
            let length = length(Some(rest), one);
            length.is_some_and(|length| rest.iter().skip(length).filter(|word| !is_around(word)).count() <= beside)
        })
    })
}

/// Whether a message says "stop" and this phrase, and nothing else but words around them.
fn begins_stopped(words: &[String], phrase: &str) -> bool {
    let stop = words.iter().position(|word| !is_around(word)).map_or(words.len(), |at| at + 1);
    let from = words.iter().skip(stop).position(|word| phrase.split(' ').next() == Some(word)).map(|at| stop + at);
    from.is_some_and(|from| {
        let rest = words.get(from..).unwrap_or_default();
        let between = words.get(stop..from).unwrap_or_default().iter();
        let length = length(Some(rest), phrase);
        length.is_some_and(|length| between.chain(rest.iter().skip(length)).all(|word| is_around(word)))
    })
}

/// Words at the beginning that say a phrase: "не надо мне больше писать" says "не надо писать". `None` if they do not.
fn length(words: Option<&[String]>, phrase: &str) -> Option<usize> {
    let mut rest = words?.iter().enumerate();
    let (mut last, mut is_first) = (0, true);
    for part in phrase.split(' ') {
        let is_own = |word: &String| {
            let is_taken_off = ["из", "from"].contains(&part) || last > 1;
            is_taken_off && OWN.iter().any(|one| folded(one) == *word) && !breakage::is_on("stop-sentences-unheard")
        };
        let is_beside = |word: &String| is_around(word) || is_own(word);
        let fits = |word: &String| is_first || breakage::is_on("stop-words-side-by-side") || !is_beside(word);
        let (at, _) = rest.find(|(_, word)| *word == part || fits(word)).filter(|(_, word)| *word == part)?;
        (last, is_first) = (at + 1, false);
    }
    Some(last)
}

fn is_around(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit()) || AROUND.iter().any(|one| folded(one) == word)
}

/// The words of a text, folded so that look-alikes are one. A compound ("стоп-кран") is one word, unless it says what to
/// stop ("стоп-реклама").
fn words(text: &str) -> Vec<String> {
    let visible: String = plain(text).filter(|c| !is_invisible(*c)).collect();
    let words = visible.split(|c: char| !c.is_alphanumeric() && c != '-').map(|word| word.trim_matches('-'));
    let words =
        words.flat_map(|word| if says_what(word) { word.split('-').collect() } else { vec![word] }).map(spelled);
    let words = words.map(|word| folded(undigited(&word))).map(|word| stressed(&word).unwrap_or(word));
    let mut words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    // "Стоп стоп стоп" says it once.
    if !breakage::is_on("stop-words-plain") {
        words.dedup();
    }
    words
}

/// Whether a compound is "stop" and what to stop.
fn says_what(word: &str) -> bool {
    let mut parts = word.split('-').map(folded);
    let stop = parts.next().is_some_and(|first| ["стоп", "stop"].iter().any(|one| folded(one) == first));
    let mut what = parts.peekable();
    stop && what.peek().is_some() && what.all(|word| is_around(&word)) && !breakage::is_on("stop-words-plain")
}

/// Letters in circles, in bold or with accents as the plain letters that they are.
fn plain(text: &str) -> Box<dyn Iterator<Item = char> + '_> {
    match breakage::is_on("stop-words-plain") {
        true => Box::new(text.chars()),
        false => Box::new(text.nfkd()),
    }
}

/// "Стоп" without the digits of an operator's short number that are glued to it.
fn undigited(word: &str) -> &str {
    let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_stop = ["стоп", "stop"].iter().any(|one| folded(one) == folded(bare));
    if is_stop && !breakage::is_on("stop-sentences-unheard") { bare } else { word }
}

/// A word whose letters are parted by dashes: "s-t-o-p".
fn spelled(word: &str) -> String {
    let letters = || word.split('-');
    let is_spelled = letters().count() > 2 && letters().all(|letter| letter.chars().count() == 1);
    if is_spelled && !breakage::is_on("stop-words-plain") { letters().collect() } else { word.to_owned() }
}

/// What a person typed, without what their device adds.
fn without_signature(text: &str) -> &str {
    if breakage::is_on("stop-words-plain") {
        return text;
    }
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let low = line.trim().to_lowercase();
        let adds = ["отправлено с ", "отправлено из ", "sent from ", "sent with "];
        if end > 0 && (low == "--" || low == "—" || adds.iter().any(|one| low.starts_with(one))) {
            break;
        }
        end += line.len();
    }
    text.get(..end).unwrap_or(text)
}

/// Characters that nobody sees and accents that stand on a letter.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{300}'..='\u{36f}')
}

/// The stop word that "стоппп" or "СТОООП" is. "Stoop" is another word.
fn stressed(word: &str) -> Option<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut once = letters.clone();
    once.dedup();
    let once: String = once.into_iter().collect();
    let is_long = letters.windows(3).any(|three| matches!(three, [a, b, c] if a == b && b == c));
    let is_last = matches!(letters.as_slice(), [.., a, b] if a == b);
    let stop = ["стоп", "stop"].map(folded).contains(&once);
    (stop && (is_long || is_last)).then_some(once)
}

/// In lower case, with the Latin letter in the place of each Cyrillic one that looks like it.
fn folded(text: &str) -> String {
    let is_number = text.chars().all(|c| c.is_ascii_digit());
    let fold = |c: char| match c {
        'ё' | 'е' | 'э' => 'e',
        'а' => 'a',
        'в' => 'b',
        'к' => 'k',
        'м' => 'm',
        'н' => 'h',
        'о' => 'o',
        '0' if !is_number => 'o',
        'р' => 'p',
        'с' => 'c',
        'т' => 't',
        'у' => 'y',
        'х' | 'χ' => 'x',
        'ѕ' => 's',
        'ѵ' | 'ν' => 'v',
        'і' | 'ι' => 'i',
        'α' => 'a',
        'ε' => 'e',
        'κ' => 'k',
        'ο' => 'o',
        'ρ' => 'p',
        'τ' => 't',
        'υ' => 'y',
        'σ' | 'ς' => 'c',
        'π' => 'п',
        // Wide letters.
        '\u{ff41}'..='\u{ff5a}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    };
    plain(text).filter(|c| !is_invisible(*c)).flat_map(char::to_lowercase).map(fold).collect()
}

#[cfg(test)]
mod tests;
