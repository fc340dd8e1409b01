//! Why people and events wait, and who has to act. The hub keeps these sentences in English: a Russian one is found by
//! its English one, the first that fits.

use crate::{Arg, Language, MARK, catalogue};

texts! { "reasons":
    nobody();
    owner();
    administrator();
    shop();
    list_provider();
    manager_row();
    operator_version();
    operator_shared();
    facts_outgrew();
    crm_outgrew();
    shop_silent(one);
    list_silent(one);
    no_answer_stands();
    rows_refused();
    money_unmatched();
    manager_money();
    people_unreadable(one, two);
    events_unreadable(one, two);
    late_call();
    second_crm(one);
    unusable_because(one);
    unusable();
    refuses(one);
    not_paid();
    token();
    right();
    limit();
    several_tries();
    no_connection();
    no_answer();
    no_session();
    no_answer_of(one);
    error_says_nothing();
    error_for_row();
    error_of(one);
    web_page();
    points_elsewhere(one);
    no_api(one);
    no_webservice(one);
    answers(one);
    no_stage(one, two);
    no_stages(one);
    no_sales_stage(one);
    hides_kind(one);
    hides_rows();
    may_not_read(one);
    fresh_session(one);
}

/// Returns an English reason in another language, with the reasons within it. A reason that is not in the catalogue stays
/// as it is.
pub fn translated(reason: &str, language: Language) -> String {
    let fitting = KEYS.iter().find_map(|(key, args)| {
        let marks: Vec<(&'static str, Arg)> = args.iter().map(|arg| (*arg, Arg::from(MARK))).collect();
        let names = parts(&catalogue::format(Language::English, key, &marks), reason)?;
        Some((*key, args.iter().copied().zip(names).collect::<Vec<_>>()))
    });
    let Some((key, named)) = fitting else { return reason.to_owned() };
    let args: Vec<(&'static str, Arg)> =
        named.into_iter().map(|(arg, name)| (arg, translated(name, language).into())).collect();
    catalogue::format(language, key, &args)
}

/// The texts in the places of a pattern, if the text fits it.
fn parts<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut pieces = pattern.split(MARK).peekable();
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut names = Vec::new();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        let end = match (is_last, piece.is_empty()) {
            (true, true) => rest.len(),
            (true, false) => rest.len().checked_sub(piece.len()).filter(|_| rest.ends_with(piece))?,
            (false, _) => rest.find(piece)?,
        };
        names.push(rest.get(..end)?);
        rest = rest.get(end + piece.len()..)?;
    }
    (rest.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(names)
}
