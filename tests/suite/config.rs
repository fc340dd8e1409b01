//! A wrong config: every mistake at once, with place and remedy.

use stagedoor::{DEFAULT_CONFIG, read_config};

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_remedy() {
    let text = DEFAULT_CONFIG
        .replace("region = \"RU\"", "region = \"Russia\"")
        .replace("currency = \"RUB\"", "currency = \"XXQ\"")
        .replace(
            "zone = \"Europe/Moscow\"\nknown_as = { qtickets = [\"41\"]",
            "zone = \"Moscow\"\nknown_as = { qtickts = [\"41\"]",
        )
        .replace("cities = [\"Казань\"]", "citys = [\"Казань\"]")
        .replace("provider = \"tilda\"", "provider = \"tulda\"")
        .replace("provider = \"carrotquest\"", "provider = \"carrotquest\"\noptions = { colour = \"blue\" }")
        .replace("secrets = [\"dev:SuperSecret\"]", "secrets = [\"SuperSecret\"]")
        .replace("show = \"cherry-kazan\"", "show = \"cherry-omsk\"")
        .replace(
            "interested = \"Интерес\"\ntalked = \"Переговоры\"",
            "intrested = \"Интерес\"\ntalked = \"Переговоры\"",
        );
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        "hub.region: unknown region",
        "hub.currency: unknown currency",
        "show \"cherry-moscow\".zone: unknown zone, expected an IANA name such as Europe/Moscow",
        "there is no source \"qtickts\"",
        "pipeline: unknown field `citys`",
        "unknown stage \"intrested\", expected one of interested",
        "source.qtickets.secrets: not a secret reference, expected env:NAME",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    assert!(
        told.lines().all(|line| line.starts_with("stagedoor.toml:") || line.ends_with("in the configuration")),
        "{told}"
    );
    assert!(!told.contains("SuperSecret"), "no secret in a message");
    let line = text.lines().position(|line| line.contains("Russia")).expect("there") + 1;
    assert!(told.contains(&format!("stagedoor.toml:{line}: hub.region")), "{told}");
}

#[test]
fn providers_and_their_options_are_checked_too() {
    let text = DEFAULT_CONFIG
        .replace("provider = \"tilda\"", "provider = \"tulda\"")
        .replace("origins = [\"https://cherry.example.ru\"]", "origins = []")
        .replace("function = \"crm\"", "function = \"crmm\"");
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in
        ["unknown provider \"tulda\", expected one of tilda", "options.origins is empty", "unknown function \"crmm\""]
    {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let told = read_config("stagedoor.toml", "[hub]\nregion = \n", None).expect_err("a mistake");
    assert!(told.starts_with("stagedoor.toml:2: syntax"), "{told}");
}

#[test]
fn development_secrets_are_refused_beyond_loopback() {
    let told = read_config("stagedoor.toml", DEFAULT_CONFIG, Some(([0, 0, 0, 0], 8080).into())).expect_err("mistakes");
    assert!(told.contains("a dev: secret is only for a hub that listens on loopback"), "{told}");
}

#[test]
fn listen_of_the_command_line_takes_public_url_along() {
    let listen = "127.0.0.1:9185".parse().expect("an address");
    let moved = |text: &str, listen| {
        read_config("stagedoor.toml", text, Some(listen)).expect("a config").public_url.expect("an address")
    };
    let with = |url: &str| DEFAULT_CONFIG.replace("\"http://127.0.0.1:8080\"", &format!("\"{url}\""));
    assert_eq!(moved(DEFAULT_CONFIG, listen), "http://127.0.0.1:9185");
    assert_eq!(moved(&with("http://127.0.0.1:8080/hub/"), listen), "http://127.0.0.1:9185/hub");
    assert_eq!(moved(&with("http://localhost:8080"), listen), "http://localhost:9185");
    let six = "[::1]:9185".parse().expect("an address");
    assert_eq!(moved(DEFAULT_CONFIG, six), "http://[::1]:9185");
    // A proxy in front of the hub, another port, a port that the system chooses: these stay.
    for url in ["http://127.0.0.1:8090", "http://hub.localhost:8080"] {
        assert_eq!(moved(&with(url), listen), url);
    }
    let any = "127.0.0.1:0".parse().expect("an address");
    assert_eq!(moved(DEFAULT_CONFIG, any), "http://127.0.0.1:8080");
    let stays = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config").public_url;
    assert_eq!(stays.as_deref(), Some("http://127.0.0.1:8080"), "without --listen");
}

#[test]
fn a_public_url_with_more_than_a_host_and_a_path_is_told_with_the_remedy() {
    let with = |url: &str| DEFAULT_CONFIG.replace("\"http://127.0.0.1:8080\"", &format!("\"{url}\""));
    for (url, parts) in [
        ("http://127.0.0.1:8080?from=crm", "a query (?)"),
        ("http://127.0.0.1:8080/hub?", "a query (?)"),
        ("http://127.0.0.1:8080/#top", "a fragment (#)"),
        ("http://boss:pass-word@127.0.0.1:8080", "a user or a password"),
        ("http://boss@127.0.0.1:8080/?a=1#b", "a user or a password and a query (?) and a fragment (#)"),
    ] {
        let text = with(url);
        let told = read_config("stagedoor.toml", &text, None).expect_err("a mistake");
        let line = text.lines().position(|line| line.starts_with("public_url")).expect("there") + 1;
        let expected = format!("stagedoor.toml:{line}: hub.public_url: holds {parts}, which breaks every link");
        assert!(told.contains(&expected) && told.contains("such as https://hub.example.ru"), "{url}: {told}");
        assert!(!told.contains("pass-word"), "{told}");
    }
    read_config("stagedoor.toml", &with("http://127.0.0.1:8080/hub/"), None).expect("a path may follow");
}

#[test]
fn mistakes_of_campaigns_codes_replies_and_sms_are_told_at_once() {
    let text = DEFAULT_CONFIG
        .replace("number = 1\nshow = \"cherry-ufa\"", "number = 4000\nshow = \"cherry-omsk\"")
        .replace("channels = [\"telegram\", \"viber\"", "channels = [\"telegramm\", \"viber\"")
        .replace("promo = \"ufa\"\n", "promo = \"samara\"\n")
        .replace("Ваш промокод в мессенджере: {link}", "Ваш промокод в мессенджере")
        .replace("size = 300", "size = 0")
        .replace("zone = \"Europe/Moscow\"\n# Under", "zone = \"Europe/Moskow\"\n# Under")
        .replace("Билеты от 1 500", "{nmae}, билеты от 1 500")
        .replace("on = \"menu\"\nnumber = 2", "on = \"menu\"\nnumber = 12")
        .replace("on = \"keyword\"\nwords = [", "on = \"keyword\"\ncampaign = \"perm\"\nwords = [")
        .replace("login = \"stagedoor\"\n", "")
        .replace("bot = \"stagedoor_tour_bot\"", "bot = \"@bot\"")
        .replace("number = \"79990000000\"", "number = \"+7 999\"");
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        "campaign.ufa.number: expected a number from 1 to 1023 that no other campaign has",
        "campaign.ufa.show: there is no [[show]] with key \"cherry-omsk\"",
        "campaign.ufa.channels: there is no source \"telegramm\" of function \"messaging\"",
        "campaign.ufa.promo: there is no [promo.samara]",
        "campaign.ufa.sms: the text has no {link}",
        "hub.zone: not an IANA time zone, such as Europe/Moscow",
        "promo.ufa: give one of codes, codes_file, or size from 1 to 200000",
        "{nmae} stands for nothing; known are {name}, {promo}",
        "on = \"menu\" needs a number from 1 to 9 and a title",
        "there is no [campaign.perm]",
        "sms.login: the account's login is needed for smsc",
        "options.bot is the bot's username without @",
        "options.number (digits only) are needed",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
}

#[test]
fn mistakes_of_mailings_manners_and_the_relay_are_told_at_once() {
    let text = DEFAULT_CONFIG
        .replace("age(stage_since) >= 2h and", "age(stage_sinse) >= 2h and")
        .replace("quiet = \"21:00-09:00\"", "quiet = \"at night\"")
        .replace("cap_days = 7", "cap_days = 0")
        .replace("hold_out = 20\ncampaign = \"tour\"", "hold_out = 90\ncampaign = \"samara\"")
        .replace("segment = \"ufa-undecided\"", "segment = \"undecided\"")
        .replace("wait = \"4h\"", "wait = \"soon\"")
        .replace("[mailing.thanks]\n", "[mailing.thanks]\nsegment = \"friends\"\n")
        .replace("спасибо, что пришли на «{show}»", "спасибо, что пришли на «{shwo}»")
        .replace("name = \"brisk\"", "name = \"calm\"")
        .replace("encryption = \"none\"", "encryption = \"none\" # below, another host")
        .replace("host = \"127.0.0.1\"", "host = \"smtp.example.ru\"")
        .replace("from = \"Вишнёвый сад <tour@cherry.example.ru>\"", "from = \"Вишнёвый сад\"")
        .replace("tag = 'X-UNIONE: ", "tag = 'X UNIONE: ")
        .replace("[mailing.called-off]", "[mailing.ufa]");
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        "mailing.cart.deal: at character 18: there is no moment \"stage_sinse\"",
        "manners.quiet: expected two times of the day, such as 21:00-09:00",
        "manners.cap_days: expected at least 1",
        "mailing.cart.hold_out: at most 50 of a hundred are held out",
        "mailing.cart.campaign: there is no [campaign.samara]",
        "mailing.cart: the variant \"calm\" needs a name of its own",
        "mailing.undecided.segment: there is no [segment.undecided]; known are friends, letters, ufa-undecided",
        "mailing.moved.wait: expected a span of a minute to 30 days, such as 4h",
        "mailing.thanks: expected deal or segment, one of them",
        "mailing.thanks: {shwo} stands for nothing; known are {name}, {show}",
        "mailing.ufa: a mailing's name has lower-case letters, digits and dashes, and is no campaign's",
        "smtp.encryption: letters go unencrypted only to this machine itself",
        "smtp.from: not an address",
        "smtp.tag: expected a header and its value, such as X-Mailgun-Tag: {mailing}",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    let bare = DEFAULT_CONFIG.replace("[smtp]", "[smtpp]");
    let told = read_config("stagedoor.toml", &bare, None).expect_err("mistakes");
    assert!(told.contains("mailing.cart.through: email needs the section [smtp]"), "{told}");
}

#[test]
fn a_label_that_a_messenger_would_cut_is_a_mistake_with_its_place() {
    let long = "Купить билет на вечерний спектакль";
    let text = DEFAULT_CONFIG
        .replace("button = { ru = \"Купить билет\"", &format!("button = {{ ru = \"{long}\""))
        .replace("title = { ru = \"Как доехать\"", &format!("title = {{ ru = \"{}\"", "Как доехать ".repeat(10)));
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        &format!("button: \"{long}\" has 34 characters; a button of [source.max] shows 20") as &str,
        "mailing.undecided: button: ",
        "has 120 characters; a line of the menu has at most 100",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    let line = text.lines().position(|line| line.contains(long)).expect("there") + 1;
    assert!(told.contains(&format!("stagedoor.toml:{line}: reply ")), "{told}");
    // Where no such messenger is, the label stands whole.
    let alone = text.replace("provider = \"max\"", "provider = \"viber\"");
    let told = read_config("stagedoor.toml", &alone, None).expect_err("other mistakes");
    assert!(told.contains("a button of [source.messenger] shows 20"), "{told}");
}

#[test]
fn a_list_of_invitees_is_read_whole_or_not_at_all() {
    let region = stagedoor_model::Region::new("RU").expect("a region");
    let good = stagedoor::campaign::read_invitees("8 917 123-45-67; Анна\n\n# old\n+79171234567\n9170000001", region);
    let good = good.expect("readable");
    let shown: Vec<(&str, Option<&str>)> = good.iter().map(|one| (one.phone.as_str(), one.name.as_deref())).collect();
    assert_eq!(shown, [("+79171234567", Some("Анна")), ("+79170000001", None)], "each once");
    let told = stagedoor::campaign::read_invitees("8 917 123-45-67\nnobody\n12", region).expect_err("mistakes");
    assert!(told.contains("line 2") && told.contains("line 3") && !told.contains("nobody;"), "{told}");
}

#[test]
fn mistakes_of_the_crm_are_told_at_once_by_its_kind() {
    let text = stagedoor::THEATRE_CONFIG
        .replace("user = \"admin\"\n", "token = \"dev:t\"\n")
        .replace("sessions = 4", "sessions = 0")
        .replace("service = \"Билет\"", "service = \"\"\nvat = 120")
        .replace("[sandbox]\n", "[second_crm]\nkind = \"vtiger\"\nbase_url = \"http://127.0.0.1:1\"\nuser = \"u\"\naccess_key = \"dev:k\"\n\n[sandbox]\n");
    let told = stagedoor::read_config("theatre.toml", &text, None).expect_err("mistakes");
    for part in [
        "crm.token: a CRM of the kind vtiger has user and access_key",
        "crm.user: is missing",
        "crm.sessions: must be 1 to 32",
        "crm.invoices.service: is empty",
        "crm.invoices.vat: must be 0 to 100 per cent",
        "second_crm.kind: the second CRM has to be of another kind than the first",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

#[test]
fn a_browsers_form_whose_consents_nothing_confirms_is_told_with_the_remedy() {
    let whole = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
    assert_eq!(whole.notices(), Vec::<String>::new());
    let without = |from: &str, until: &str| {
        let (start, end) = (DEFAULT_CONFIG.find(from).expect("there"), DEFAULT_CONFIG.find(until).expect("there"));
        let text = format!("{}{}", &DEFAULT_CONFIG[..start], &DEFAULT_CONFIG[end..]);
        read_config("stagedoor.toml", &text, None).expect("a config").notices().join("\n")
    };
    let told = without("[mailing.confirm-address]", "[mailing.confirm-withdrawal]");
    assert!(told.contains("source.landing") && told.contains("purpose = \"confirm\""), "{told}");
    let told = without("[mailing.confirm-withdrawal]", "[mailing.moved]");
    assert!(told.contains("source.landing") && told.contains("purpose = \"confirm_withdrawal\""), "{told}");
}

#[test]
fn a_text_that_costs_many_sms_is_told_with_its_place_and_the_remedy() {
    let told = |from: &str, to: &str| {
        let text = DEFAULT_CONFIG.replacen(from, to, 1);
        assert_ne!(text, DEFAULT_CONFIG);
        read_config("stagedoor.toml", &text, None).expect("a config").notices()
    };
    let moved = "sms = \"«{show}» переносится: {when}. Билеты действительны.\"\n";
    // 201 Russian letters are three SMS, 202 are four; names are not counted.
    let of = |letters: usize| told(moved, &format!("sms = \"{{show}}{{when}}{}\"\n", "я".repeat(letters)));
    assert_eq!(of(201), Vec::<String>::new());
    let four = of(202);
    assert_eq!(four.len(), 1, "{four:?}");
    assert!(four[0].starts_with("mailing.moved.sms") && four[0].contains("4 SMS"), "{four:?}");
    assert!(four[0].contains("'я'") && four[0].contains("shorten it"), "{four:?}");
    // The most letters that three SMS hold. A letter is not cut in two where a segment ends.
    for (letter, most) in [("a", 459), ("€", 228), ("я", 201), ("😀", 99), ("{name}a", 459)] {
        let of = |letters: usize| told(moved, &format!("sms = \"{}\"\n", letter.repeat(letters))).len();
        assert_eq!((of(most), of(most + 1)), (0, 1), "{letter}");
    }
    let mixed = told(moved, &format!("sms = \"{}—\"\n", "a".repeat(201)));
    assert!(mixed.len() == 1 && mixed[0].contains("'—'"), "one letter makes all of them long: {mixed:?}");
    // An SMS that comes in is answered by the bot's own words.
    let thanks = told("Спасибо, записали.", &"спасибо ".repeat(30));
    assert!(thanks.len() == 1 && thanks[0].starts_with("reply "), "{thanks:?}");
}

#[test]
fn what_is_said_twice_or_leads_nowhere_is_told() {
    let text = DEFAULT_CONFIG
        .replace("theatre = [\"kzn-1\"]", "theatre = [\"msk-1\"]")
        .replace("cities = [\"Казань\"]", "cities = [\"Казань\", \"Москва\"]")
        .replace("on = \"menu\"\nnumber = 2", "on = \"menu\"\nnumber = 1")
        .replacen("orders_of = \"theatre\"", "orders_of = \"theater\"", 1)
        .replacen("orders_of = \"theatre\"", "orders_of = \"landing\"", 1)
        .replace(
            "origins = [\"https://cherry.example.ru\"]",
            "origins = [\"https://cherry.example.ru/\", \"https://Tour.example.ru:443\", \"*\", \"https://a.ru:8443\"]\nhoneypot = \"your-email\"",
        );
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        "theatre \"msk-1\" is the show",
        "\"Москва\" is in the pipeline",
        "another reply of this menu has the number 1",
        "\"theater\" is no source that tells of orders, expected one of",
        "\"landing\" is no source that tells of orders",
        "write \"https://cherry.example.ru\"",
        "write \"https://tour.example.ru\"",
        "options.origins holds \"*\", which no browser sends",
        "options.honeypot is \"your-email\", where the form has email",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    assert!(!told.contains("8443"), "{told}");
}
