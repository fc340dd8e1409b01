//! Reasons why people wait, in Russian. One table pairs English and Russian sentences. `{}` stands for a name or a
//! number, which is translated too if the table has it.

/// Pairs of an English and a Russian sentence. The first pair that fits counts.
const WORDS: &[(&str, &str)] = &[
    // Who has to act.
    ("nobody: it is tried again by itself", "никто: повторяется само"),
    ("the owner of the CRM account", "владелец аккаунта CRM"),
    (
        "an administrator of the CRM, or the operator in stagedoor.toml",
        "администратор CRM или оператор (stagedoor.toml)",
    ),
    ("the one who runs the shop", "тот, кто ведёт магазин"),
    ("the provider of the mailing list", "сервис рассылок"),
    (
        "a manager: correct the row, then `stagedoor retry-parked`",
        "менеджер: исправить строку, затем `stagedoor retry-parked`",
    ),
    (
        "the operator: start the version that wrote them, or a newer one",
        "оператор: запустить версию, которая их записала, или новее",
    ),
    (
        "the operator: name the phone or e-mail that many people share under `[identity] blocked`, restart, then `stagedoor replay --from <time>`",
        "оператор: внести общий для многих людей телефон или e-mail в `[identity] blocked`, перезапустить, затем `stagedoor replay --from <время>`",
    ),
    // What holds people up.
    (
        "the facts of a person outgrew one stored document: new events about them are only journalled",
        "данные человека не помещаются в один документ хранилища: новые события о нём только записываются в журнал",
    ),
    (
        "what is known of a person in the CRM outgrew one stored document: nothing of theirs is sent",
        "данные о человеке в CRM не помещаются в один документ хранилища: по нему ничего не отправляется",
    ),
    (
        "order shop {} does not answer; its orders wait in the queue",
        "магазин {} не отвечает; его заказы ждут в очереди",
    ),
    (
        "mailing list {} does not answer; its members are changed later",
        "список рассылки {} не отвечает; его состав изменится позже",
    ),
    (
        "the CRM gave no answer that stands about the rows of these people",
        "CRM не дала определённого ответа о строках этих людей",
    ),
    (
        "the CRM refused rows of these people; `stagedoor parked` says why",
        "CRM отклонила строки этих людей; причины показывает `stagedoor parked`",
    ),
    (
        "money of these people matches no order, or came in another currency; `stagedoor parked` lists it",
        "деньги этих людей не подходят ни к одному заказу или пришли в другой валюте; их показывает `stagedoor parked`",
    ),
    ("a manager: find out what it was for, or give it back", "менеджер: выяснить, за что это, или вернуть деньги"),
    ("{} stored people cannot be read by this version: {}", "эта версия не читает записи {} людей: {}"),
    ("{} stored events cannot be read by this version: {}", "эта версия не читает {} событий: {}"),
    (
        "a call to the CRM got no answer and may still take effect; its rows are looked up until then",
        "вызов CRM остался без ответа и ещё может исполниться; до этого срока его строки ищутся",
    ),
    ("second CRM: {}", "вторая CRM: {}"),
    // What the CRM's clients say.
    ("the CRM cannot be used now: {}", "CRM сейчас недоступна: {}"),
    ("the CRM cannot be used now", "CRM сейчас недоступна"),
    ("the CRM refuses us: {}", "CRM не пускает хаб: {}"),
    ("the account is not paid", "аккаунт не оплачен"),
    ("the access token is not accepted; authorise again", "токен доступа не принят; авторизуйте хаб заново"),
    ("the authorised user lacks a right", "пользователю хаба не хватает права"),
    ("the account is blocked for exceeding the request limit", "аккаунт заблокирован за превышение лимита запросов"),
    ("it did not answer well in several tries", "несколько попыток остались без нормального ответа"),
    ("no connection", "нет соединения"),
    ("no answer", "нет ответа"),
    ("no session", "нет сессии"),
    ("{}: no answer", "{}: нет ответа"),
    ("it answers with an error and says nothing", "отвечает ошибкой без пояснений"),
    (
        "it answers with an error and says nothing, for this row; others are taken",
        "на эту строку отвечает ошибкой без пояснений; другие строки принимает",
    ),
    ("{}: it answers with an error and says nothing", "{}: отвечает ошибкой без пояснений"),
    ("it answers with a web page instead of its webservice", "вместо веб-сервиса отвечает страницей сайта"),
    (
        "it answers {} and points elsewhere; the account's address may have changed: check crm.base_url",
        "отвечает {} и отсылает на другой адрес; адрес аккаунта мог измениться: проверьте crm.base_url",
    ),
    (
        "it answers {} instead of its API; check crm.base_url if that lasts",
        "отвечает {} вместо API; если это надолго, проверьте crm.base_url",
    ),
    (
        "it answers {} instead of its webservice; check the address of the CRM if that lasts",
        "отвечает {} вместо веб-сервиса; если это надолго, проверьте адрес CRM",
    ),
    ("it answers {}", "отвечает {}"),
    (
        "the CRM has no stage {} in pipeline {}; make it there or change the config",
        "в CRM нет этапа {} в воронке {}; создайте его или измените конфигурацию",
    ),
    (
        "the CRM has no stage {}; make them there or change the config",
        "в CRM нет этапов {}; создайте их или измените конфигурацию",
    ),
    (
        "the CRM has no sales stage {}; add it to the picklist or change the config",
        "в CRM нет стадии {}; добавьте её в список или измените конфигурацию",
    ),
    (
        "the CRM shows the hub no {} any more: give its user the right to see them",
        "CRM больше не показывает хабу {}: верните его пользователю право на просмотр",
    ),
    (
        "the CRM hides rows of the hub from its user: give the user the right to see them",
        "CRM скрывает строки хаба от его пользователя: верните пользователю право на просмотр",
    ),
    (
        "the hub's user may not read or write {}: give it the right, or the record another owner",
        "пользователь хаба не может читать или менять {}: дайте ему право или смените ответственного",
    ),
    ("a fresh session is not accepted: {}", "новая сессия не принята: {}"),
];

/// The same sentence in Russian. A sentence that is not in the table stays as it is.
pub(crate) fn in_russian(text: &str) -> String {
    let fitting = WORDS.iter().find_map(|(english, russian)| Some((parts(english, text)?, russian)));
    let Some((names, russian)) = fitting else { return text.to_owned() };
    let mut pieces = russian.split("{}");
    let mut words = pieces.next().unwrap_or_default().to_owned();
    for (name, piece) in names.iter().zip(pieces) {
        words.push_str(&in_russian(name));
        words.push_str(piece);
    }
    words
}

/// The texts in the places of a pattern, if the text fits it.
fn parts<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut pieces = pattern.split("{}").peekable();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_put_into_russian_with_its_names() {
        for (english, russian) in [
            ("the CRM refuses us: the account is not paid", "CRM не пускает хаб: аккаунт не оплачен"),
            (
                "second CRM: the CRM cannot be used now: it answers 502 instead of its webservice; check the address of the CRM if that lasts",
                "вторая CRM: CRM сейчас недоступна: отвечает 502 вместо веб-сервиса; если это надолго, проверьте адрес CRM",
            ),
            (
                "the CRM has no stage \"Оплачено\" in pipeline \"Тур\"; make it there or change the config",
                "в CRM нет этапа \"Оплачено\" в воронке \"Тур\"; создайте его или измените конфигурацию",
            ),
            ("something new", "something new"),
        ] {
            assert_eq!(in_russian(english), russian);
        }
    }
}
