use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stagedoor_model::{Body, Event, Identifier, Region, SourceName};

use super::{
    addresses::Addresses,
    spellings::{leaves, readings},
};

/// Who has these identifiers, in a hub of this country.
fn who(region: &str, names: &[&str]) -> Addresses {
    let names = names.iter().map(|name| name.parse::<Identifier>().expect("an identifier")).collect();
    Addresses::of(&names, Region::new(region).ok())
}

/// A delivery of the theatre's shop that was not understood.
fn kept(body: &[u8]) -> Event {
    kept_by("ticketing", "theatre", body)
}

fn kept_by(function: &str, source: &str, body: &[u8]) -> Event {
    let route = format!("{function}/{source}");
    event(
        source,
        json!({ "type": "stagedoor.delivery.unrecognized.v1",
            "data": { "route": route, "reason": "no JSON", "headers": {}, "body": STANDARD.encode(body) } }),
    )
}

/// An event with this type and these data.
fn event(source: &str, body: Value) -> Event {
    let body: Body = serde_json::from_value(body).expect("a body");
    let source = SourceName::new(source).expect("a name");
    let id = stagedoor_model::EventId::derive(&source, &["test"]);
    Event::new(&source, id, stagedoor_model::Timestamp::UNIX_EPOCH, body)
}

fn order(id: &str, buyer: &[&str], minor: u64) -> Event {
    let money = json!({ "minor": minor, "currency": "RUB" });
    let order = json!({ "revision": "2026-01-10T10:05:00Z", "state": "paid", "id": id,
        "placed_at": "2026-01-10T10:00:00Z", "paid": money, "total": money, "tickets": [] });
    event("theatre", json!({ "type": "stagedoor.order.paid.v1", "data": { "identifiers": buyer, "order": order } }))
}

fn told(addresses: &Addresses, event: &Event) -> bool {
    addresses.are_told(&serde_json::to_string(event).expect("JSON"))
}

#[test]
fn addresses_are_found_however_they_are_written_and_no_others() {
    let addresses = who("RU", &["phone:+79161234567", "email:anna@example.com", "customer/shop:17"]);
    for text in [
        "Phone=8+%28916%29+123-45-67",
        "{\"phone\":\"+7 (916) 123 45 67\"}",
        "{\"phone\":89161234567}",
        "email=Anna%40Example.com",
        "{\"email\":\"anna\\u0040example.com\"}",
        "{\"email\":\"\\u0061nn\\u0061@exampl\\u0065.com\"}",
        "8–916–123–45–67",
        "８９１６１２３４５６７",
        "8 916\u{200b} 123 45 67",
    ] {
        assert!(addresses.are_in(text), "{text}");
    }
    for text in ["Phone=8+%28916%29+123-45-68", "{\"id\":17}", "email=joanna@example.org", "916 123, 45 67"] {
        assert!(!addresses.are_in(text), "{text}");
    }
}

#[test]
fn a_body_in_utf_16_is_read_as_such() {
    let text = "{\"email\":\"anna@example.com\"}";
    let (little, big): (Vec<u8>, Vec<u8>) = (
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    );
    let addresses = who("RU", &["email:anna@example.com"]);
    for bytes in [little.clone(), big, [vec![0xff, 0xfe], little].concat()] {
        assert!(readings(&bytes).iter().any(|text| addresses.are_in(text)));
        assert!(addresses.are_kept(&kept(&bytes)));
    }
}

#[test]
fn an_address_that_is_a_part_of_a_longer_one_is_another_persons() {
    let anna = who("RU", &["email:anna@example.com"]);
    for text in [
        "joanna@example.com",
        "j.anna@example.com",
        "lo-anna@example.com",
        "tour+anna@example.com",
        "o'anna@example.com",
        "anna@example.com.ru",
        "anna@example.community",
        "anna@example.com-tour.ru",
    ] {
        assert!(!anna.are_in(text), "{text}");
        assert!(!anna.are_kept(&kept(json!({ "buyer": { "email": text } }).to_string().as_bytes())), "{text}");
        assert!(!told(&anna, &order("T-2", &[format!("email:{text}").as_str()], 1)), "{text}");
    }
    for text in [
        "Пишите на anna@example.com.",
        "Анна <Anna@Example.com>",
        "'anna@example.com'",
        "anna@example.com.Звоните!",
        "mailto:anna@example.com?subject=x",
        "_anna@example.com_",
        "\tanna@example.com\n",
    ] {
        assert!(anna.are_in(text), "{text}");
        assert!(anna.are_kept(&kept(json!({ "note": text }).to_string().as_bytes())), "{text}");
    }
}

#[test]
fn an_id_counts_as_a_whole_value_where_such_an_id_stands() {
    let anna = who("RU", &["order/theatre:ORD-1001", "customer/theatre:150000", "order/theatre:1000123"]);
    for body in [
        json!({ "data": { "id": "ORD-1001" } }),
        json!({ "orders": { "ord-1001": {} } }),
        json!({ "buyer": { "customer_id": "150000" } }),
        json!({ "customer": { "id": 150_000 } }),
        json!({ "data": { "id": 1_000_123 } }),
        json!({ "order_number": "1000123" }),
        json!({ "message": "{\"order\":{\"id\":\"ORD-1001\"}}" }),
    ] {
        let text = body.to_string();
        assert!(anna.are_kept(&kept(text.as_bytes())), "{text}");
        assert!(!anna.are_kept(&kept_by("ticketing", "other", text.as_bytes())), "another shop: {text}");
    }
    for body in [
        json!({ "data": { "id": "ORD-10012", "number": "ORD-10012" } }),
        json!({ "data": { "id": "T-7", "total": 150_000, "tickets": [{ "id": 1_000_123, "price": "150000" }] } }),
        json!({ "order_total": 1_000_123, "customer": { "balance": 150_000 } }),
        json!({ "order": { "id": 150_000, "comment": "as ORD-1001, row 1000123" } }),
    ] {
        assert!(!anna.are_kept(&kept(body.to_string().as_bytes())), "{body}");
    }
    for (body, is_hers) in [
        ("buyer[customer_id]=150000&total=1", true),
        ("order%5Bid%5D=ORD%2D1001", true),
        ("total=150000&id=T-7", false),
        ("id=ORD-10012", false),
        ("<order><id>ORD-1001</id></order>", true),
        ("<order><id>ORD-10012</id></order>", false),
    ] {
        assert_eq!(anna.are_kept(&kept(body.as_bytes())), is_hers, "{body}");
    }
}

#[test]
fn a_row_of_a_crm_is_no_row_of_the_other_and_no_other_row() {
    let anna = who("RU", &["crm_contact:30123456"]);
    let contact = b"contacts%5Bupdate%5D%5B0%5D%5Bid%5D=30123456";
    assert!(anna.are_kept(&kept_by("crm", "amocrm", contact)));
    assert!(!anna.are_kept(&kept_by("crm", "second-crm", contact)));
    assert!(!anna.are_kept(&kept_by("crm", "amocrm", b"leads[update][0][id]=30123456")));
    assert!(!anna.are_kept(&kept(b"{\"contact\":{\"id\":30123456}}")), "a shop has ids of its own");
}

#[test]
fn a_waiting_message_is_compared_by_whom_it_names() {
    let anna =
        who("RU", &["email:anna@example.com", "customer/theatre:150000", "order/theatre:T-1", "telegram:530000"]);
    assert!(told(&anna, &order("T-7", &["email:anna@example.com"], 1)));
    assert!(told(&anna, &order("T-7", &["customer/theatre:150000"], 1)));
    assert!(told(&anna, &order("T-1", &[], 1)));
    assert!(!told(&anna, &order("T-10", &["email:joanna@example.com", "customer/other:150000"], 150_000)));
    let decided = |to: &str, text: &str| {
        let data = json!({ "through": "telegram", "to": to, "text": text, "until": "2027-01-01T00:00:00Z" });
        event("telegram", json!({ "type": "stagedoor.message.decided.v1", "data": data }))
    };
    assert!(told(&anna, &decided("telegram:530000", "Спасибо")));
    assert!(told(&anna, &decided("telegram:530001", "Пишите: anna@example.com")));
    assert!(!told(&anna, &decided("telegram:5300001", "Пишите: joanna@example.com, заказ T-1, 150000 ₽")));
    let noticed =
        |order: &str| event("theatre", json!({ "type": "stagedoor.order.noticed.v1", "data": { "order": order } }));
    assert!(told(&anna, &noticed("T-1")) && !told(&anna, &noticed("T-12")));
    let heard = |text: &str| {
        let data = json!({ "chat": { "id": "telegram:999999" }, "message": "1", "content": { "text": text } });
        event("telegram", json!({ "type": "stagedoor.message.received.v1", "data": data }))
    };
    assert!(told(&anna, &heard("это ANNA@example.com")) && !told(&anna, &heard("это joanna@example.com")));
    // A later version may write what this one cannot read.
    let later = |who: &str| json!({ "type": "stagedoor.of.tomorrow.v9", "data": { "who": [who], "sum": 150_000 } });
    assert!(anna.are_told(&later("customer/theatre:150000").to_string()));
    assert!(!anna.are_told(&later("email:joanna@example.com").to_string()));
}

#[test]
fn a_phone_is_found_as_it_is_written_in_its_own_country() {
    for (hub, phone, texts) in [
        ("FR", "+33612345678", vec!["06 12 34 56 78", "0612345678", "0033 6 12 34 56 78", "+33 (0)6 12 34 56 78"]),
        ("RU", "+33612345678", vec!["06 12 34 56 78", "06.12.34.56.78", "810 33 612345678"]),
        ("PL", "+48512345678", vec!["512 345 678", "512345678", "48512345678"]),
        ("EE", "+37251234567", vec!["5123 4567", "51234567"]),
        ("RU", "+375291234567", vec!["80291234567", "8 029 123-45-67", "810375291234567", "29 123 45 67"]),
        ("US", "+12025550123", vec!["(202) 555-0123", "1-202-555-0123", "12025550123"]),
    ] {
        let addresses = who(hub, &[format!("phone:{phone}").as_str()]);
        for text in texts {
            assert!(addresses.are_in(text), "{phone}: {text}");
            assert!(addresses.are_kept(&kept(json!({ "tel": text }).to_string().as_bytes())), "{phone}: {text}");
        }
        for text in [format!("{phone}1"), format!("+4{}", &phone[1..])] {
            assert!(!addresses.are_in(&text), "longer than {phone}: {text}");
        }
    }
    let anna = who("RU", &["phone:+79162234567"]);
    for text in ["+1 916 223-45-67", "19162234567", "1029162234567"] {
        assert!(!anna.are_in(text), "of another country: {text}");
    }
    let by_chat = who("RU", &["whatsapp:79162234567"]);
    assert!(by_chat.are_in("8 916 223-45-67"), "who is known by a chat has that phone");
}

#[test]
fn a_phone_is_found_whatever_separates_its_digits() {
    let anna = who("RU", &["phone:+79164441234"]);
    for text in [
        "+7 (916) - 444-12-34",
        "+7/916/444/12/34",
        "+7 916 444\t12\t34",
        "7.916.444..12..34",
        "+7_916_444_12_34",
        "+7 (916)  444  -  12  -  34",
        "+7 (916) — 444-12-34",
        "+7 [916] 444-12-34",
        "9164441234 (доб. 5)",
        "+7 916 444\n12 34",
        "+8 916 444 12 34",
        "тел.89164441234звоните",
        "+7 926 111-22-33 +7 916 444-12-34",
        "٨٩١٦٤٤٤١٢٣٤",
    ] {
        assert!(anna.are_in(text), "{text}");
        for body in
            [json!({ "tel": text }).to_string(), json!([{ "raw": json!({ "a": text }).to_string() }]).to_string()]
        {
            assert!(anna.are_kept(&kept(body.as_bytes())), "{body}");
        }
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("Phone", text).finish();
        assert!(anna.are_kept(&kept(form.as_bytes())), "{form}");
    }
    assert!(anna.are_kept(&kept(b"{'tel': '+7 916 444\\t12\\t34',}")), "nearly JSON");
    assert!(
        !anna.are_in("916444 of 1234") && !anna.are_in("9164441, 234") && !anna.are_in("{\"a\":916444,\"b\":1234}")
    );
}

#[test]
fn an_address_in_letters_of_its_country_is_the_one_in_punycode() {
    let anna = who("RU", &["email:anna@xn--e1afmkfd.xn--p1ai"]);
    let text = json!({ "email": "Anna@Пример.рф" }).to_string();
    assert!(anna.are_kept(&kept(text.as_bytes())));
    assert!(anna.are_kept(&kept("email=anna%40%D0%BF%D1%80%D0%B8%D0%BC%D0%B5%D1%80.%D1%80%D1%84".as_bytes())));
    let in_1251: Vec<u8> =
        text.chars().map(|c| if c.is_ascii() { c as u8 } else { (c as u32 - 0x350) as u8 }).collect();
    assert!(anna.are_kept(&kept(&in_1251)), "in windows-1251");
    assert!(!anna.are_kept(&kept(json!({ "email": "joanna@пример.рф" }).to_string().as_bytes())));
}

#[test]
fn a_plus_in_json_is_a_part_of_the_address() {
    let tour = who("RU", &["email:tour@example.com"]);
    for body in ["{\"email\":\"anna+tour@example.com\"}", "{'email':'anna+tour@example.com',}"] {
        assert!(!tour.are_kept(&kept(body.as_bytes())), "{body}");
    }
    assert!(tour.are_kept(&kept(b"words=write+to+tour%40example.com+now")), "in a form it is a blank");
}

#[test]
fn the_token_of_a_poster_names_nobody() {
    let key = stagedoor_model::LinkKey::new("a key");
    let end = "2027-05-28T19:00:00Z".parse().expect("a time");
    let token = |purpose| key.mint(1, purpose, "anna", end).as_str().to_owned();
    let (own, public) = (token(stagedoor_model::Purpose::Chat), token(stagedoor_model::Purpose::Public));
    let anna = who("RU", &[format!("link:{own}").as_str(), format!("link:{public}").as_str(), "link:promo2026"]);
    assert!(anna.are_in(&format!("https://t.me/bot?start={own}wxyz")));
    for text in [public.as_str(), "promo2026", "https://t.me/bot?start=promo2026"] {
        assert!(!anna.are_in(text), "{text}");
        let data = json!({ "chat": { "id": "telegram:999999" }, "token": text, "may_write": true });
        if text.len() < 20 {
            let started = event("telegram", json!({ "type": "stagedoor.chat.started.v1", "data": data }));
            assert!(!told(&anna, &started), "{text}");
        }
    }
}

#[test]
fn values_are_read_with_the_names_that_lead_to_them() {
    let found = leaves("{\"a\":[{\"b\":\"{\\\"c\\\":7}\"}]}");
    let value = found.iter().find(|leaf| leaf.text == "7").expect("a value");
    assert_eq!((value.path.as_slice(), value.is_text), (["a", "b", "c"].map(str::to_owned).as_slice(), false));
    let found = leaves("contacts[update][0][id]=7");
    assert!(found.iter().any(|leaf| leaf.text == "7" && leaf.path == ["contacts", "update", "0", "id"]), "{found:?}");
    assert!(leaves("{\"a\":1,").is_empty());
}
