//! Where an address begins and ends in a text. A longer one is another person's.

/// True if the e-mail stands in the text by itself: `anna@example.com` does not stand in `joanna@example.com`. Both are
/// in small letters.
pub(super) fn is_email_in(text: &str, email: &str) -> bool {
    stands(text, email, |before, after| {
        let mut before = before.chars().rev();
        let begins = match before.next() {
            Some(letter) if letter.is_alphanumeric() || "._%+-".contains(letter) => false,
            // `o'anna@example.com` has another owner, while quotes may stand around an address.
            Some('\'' | '’') => !before.next().is_some_and(char::is_alphanumeric),
            _ => true,
        };
        let mut after = after.chars();
        let ends = match after.next() {
            Some(letter) if letter.is_ascii_alphanumeric() => false,
            // A further part of the domain, but not the end of a sentence.
            Some('.' | '-') => !after.next().is_some_and(|letter| letter.is_ascii_alphanumeric()),
            _ => true,
        };
        begins && ends
    })
}

/// True if the id stands in the text by itself: `ord-1001` does not stand in `ord-10012`.
pub(super) fn is_id_in(text: &str, id: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
    stands(text, id, |before, after| {
        !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part)
    })
}

/// True if `what` stands somewhere in the text between parts that fit.
fn stands(text: &str, what: &str, fits: impl Fn(&str, &str) -> bool) -> bool {
    text.match_indices(what).any(|(at, found)| {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        fits(before, rest.strip_prefix(found).unwrap_or_default())
    })
}
