//! What a mail server means by a refusal: whether the mailbox does not exist, or anything else stood in the way.

use crate::breakage;

/// Words of servers that give no code, or 5.0.0 ("other or undefined").
const NO_MAILBOX: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "no such mailbox",
    "no such recipient",
    "no such address",
    "does not exist",
    "doesn't exist",
    "mailbox not found",
    "user not found",
    "recipient not found",
    "unknown recipient",
    "invalid recipient",
    "invalid address",
    "invalid mailbox",
    "address not found",
    "unknown address",
    "unknown local part",
    "addressee unknown",
    "unrouteable address",
    "unroutable address",
    "no such domain",
    "domain not found",
    "unknown domain",
    "account is disabled",
    "account disabled",
    "account has been disabled",
    "mailbox disabled",
    "mailbox is disabled",
];

/// What is wrong with the sender: these do not say that the recipient is unknown, whatever else they say.
const SENDER: &[&str] =
    &["sender", "your ip", "your host", "ptr record", "reverse dns", "rdns", "helo", "spf", "dkim", "dmarc"];

/// And of those that refuse us, the letter, or all letters for now.
const OTHER: [&str; 12] = [
    "full",
    "quota",
    "block",
    "spam",
    "policy",
    "reputation",
    "blacklist",
    "greylist",
    "too large",
    "rate limit",
    "content",
    "frequency",
];

/// Words of a limit that passes. Gmail: "550 5.2.1 The user you are trying to contact is receiving mail at a rate that
/// prevents additional messages from being delivered".
const LIMIT: [&str; 6] = ["rate", "rates", "frequency", "frequently", "volume", "quickly"];

/// Whether words in lower case tell of a limit. "Corporate" and "migrated" do not.
fn is_limit(said: &str) -> bool {
    said.split(|c: char| !c.is_alphanumeric()).any(|word| LIMIT.contains(&word)) || said.contains("too many")
}

/// Whether a refusal says that there is no such mailbox. `None`: it says nothing of it.
///
/// `words` is whatever the server said; an enhanced status code (RFC 3463) is looked for in `code`, then in them. "Permanent" alone
/// means no more than that this letter is not tried again: a full mailbox (5.2.2), a letter that is too large (5.3.4) and a
/// policy (5.7.1) are permanent, too.
pub fn is_no_mailbox(code: Option<&str>, words: &str) -> Option<bool> {
    let enhanced = code.and_then(enhanced_code).or_else(|| enhanced_code(words));
    let said = words.to_lowercase();
    match enhanced {
        Some(('4', ..)) => return Some(false),
        // No such mailbox or domain, one that moved, or a domain that takes no mail (RFC 7505).
        Some((_, 1, 1..=6 | 10)) => return Some(true),
        // Disabled, unless the mailbox only gets too many letters for now.
        Some((_, 2, 1)) => return Some(!is_limit(&said)),
        Some((_, 0 | 1, 0)) | None => {}
        Some(_) => return Some(false),
    }
    if SENDER.iter().any(|one| said.contains(one)) {
        return Some(false);
    }
    if NO_MAILBOX.iter().any(|one| said.contains(one)) {
        return Some(true);
    }
    OTHER.iter().any(|one| said.contains(one)).then_some(false)
}

/// The first enhanced status code of a failure in a text, for example `5.1.1`.
fn enhanced_code(text: &str) -> Option<(char, u16, u16)> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    words.map(|word| word.trim_matches('.')).find_map(|word| {
        let mut parts = word.split('.');
        let class = parts.next().filter(|class| ["4", "5"].contains(class))?.chars().next()?;
        let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        // An address in the network has four parts.
        (parts.next().is_none() && subject < 10 && detail < 1_000).then_some((class, subject, detail))
    })
}

/// Whether a failure that a provider calls permanent closes the address at once. One that does not say why counts as passing:
/// our own header, our address in the network or a name server may be the reason.
pub fn closes_address(code: Option<&str>, words: &str) -> bool {
    let is_unknown_enough = breakage::is_on("unknown-failure-closes");
    is_no_mailbox(code, words).unwrap_or(is_unknown_enough) || breakage::is_on("permanent-is-no-mailbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mailbox_that_is_not_there_is_no_mailbox() {
        for (code, words, expected) in [
            (Some("5.1.1"), "", Some(true)),
            (None, "smtp;550 5.1.1 The email account that you tried to reach does not exist.", Some(true)),
            (None, "550 5.2.1 The account is disabled", Some(true)),
            (None, "550 5.2.1 The mailbox of this corporate account was migrated and is disabled", Some(true)),
            (Some("5.2.1"), "", Some(true)),
            (None, "550-5.2.1 The user you are trying to contact is receiving mail at a rate that\r\n", Some(false)),
            (Some("5.2.1"), "Frequency or Volume Too High", Some(false)),
            (Some("5.2.1"), "550 The user is receiving mail too quickly", Some(false)),
            (None, "552 5.2.2 Mailbox full, user unknown to quota", Some(false)),
            (None, "550 5.7.1 [198.51.100.5] is on a block list", Some(false)),
            (Some("550"), "5.7.1 Message rejected as spam", Some(false)),
            (None, "452 4.2.2 mailbox full", Some(false)),
            (Some("5.0.0"), "550 No such user here", Some(true)),
            (Some("5.0.0"), "550 your host 5.1.1.2 is blocked", Some(false)),
            (None, "550", None),
            (None, "", None),
            (Some("550"), "generic", None),
            (None, "5.1.8 Bad sender's address", Some(false)),
            (None, "550 5.1.10 null MX", Some(true)),
            (None, "550 Unrouteable address", Some(true)),
            (Some("5.0.0"), "550 PTR record does not exist for your IP", Some(false)),
            (None, "550 Sender verify failed: no such user", Some(false)),
            (None, "unable to get mx info: failed to get IPs from PTR record: lookup", Some(false)),
            (None, "unable to get mx info: lookup example.com: server failure", None),
        ] {
            assert_eq!(is_no_mailbox(code, words), expected, "{code:?} {words}");
        }
    }
}
