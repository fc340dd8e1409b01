//! A show that changes more than once: each holder is told the difference to what this holder knows.

use serde_json::{Value, json};
use stagedoor_sandbox::Platform;
use stagedoor_testkit::form_signed;

use crate::mailings::{HOUR, Stage, noon};

const A: &str = "2027-05-20T16:00:00Z";
const B: &str = "2027-05-22T16:00:00Z";

impl Stage {
    /// What stands in the subjects of somebody's letters, the first first.
    fn subjects(&self, to: &str) -> Vec<String> {
        let text = |letter: stagedoor_sandbox::Delivered| letter.text.lines().next().unwrap_or_default().to_owned();
        self.letters(to).into_iter().map(text).collect()
    }

    /// The show changes, and twenty minutes go by: nobody gets the same by SMS yet.
    async fn changes(&mut self, kind: &str, starts_at: &str) {
        self.show(kind, "kzn-1", starts_at).await;
        self.on(HOUR / 3).await;
    }

    fn has_tag(&self) -> bool {
        self.hub.sandbox.leads().iter().any(|lead| lead["_embedded"]["tags"].to_string().contains("show cancelled"))
    }
}

fn tells(text: &str, words: &[&str]) {
    assert!(words.iter().all(|word| text.contains(word)), "{text:?} does not say {words:?}");
}

#[tokio::test]
async fn a_show_that_moves_back_and_forth_is_told_each_time() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    stage.changes("show.rescheduled", B).await;
    stage.changes("show.rescheduled", A).await;
    stage.changes("show.rescheduled", B).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 3, "{letters:?}");
    tells(&letters[0], &["переносится", "22.05.2027"]);
    tells(&letters[1], &["состоится 20.05.2027 19:00, как и было"]);
    tells(&letters[2], &["переносится", "22.05.2027"]);
}

#[tokio::test]
async fn a_postponed_show_has_no_date_in_the_crm() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    let dated = |stage: &Stage| stage.hub.sandbox.leads()[0].to_string().contains("STAGEDOOR_SHOW_AT");
    assert!(dated(&stage));
    let now = stage.hub.now();
    let body = json!({ "type": "show.rescheduled", "data": { "id": "kzn-1", "changed_at": now.to_string() } });
    stage.hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", "undated", now)).await;
    stage.on(HOUR / 3).await;
    assert!(!dated(&stage), "{}", stage.hub.sandbox.leads()[0]);
    stage.changes("show.rescheduled", B).await;
    assert!(dated(&stage));
}

#[tokio::test]
async fn a_show_that_is_called_off_and_on_again_is_told_each_time_and_the_crm_follows() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    stage.changes("show.cancelled", A).await;
    assert!(stage.has_tag(), "managers see it");
    stage.changes("show.rescheduled", A).await;
    assert!(!stage.has_tag(), "and see that it is over");
    stage.changes("show.cancelled", A).await;
    assert!(stage.has_tag());
    stage.changes("show.rescheduled", B).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 4, "{letters:?}");
    tells(&letters[0], &["отменяется"]);
    tells(&letters[1], &["состоится", "как и было"]);
    tells(&letters[2], &["отменяется"]);
    tells(&letters[3], &["переносится", "22.05.2027"]);
    // The same word again is no news.
    stage.changes("show.rescheduled", B).await;
    assert_eq!(stage.letters("anna@example.com").len(), 4);
}

#[tokio::test]
async fn a_holder_is_told_only_what_differs_from_what_they_bought() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    stage.changes("show.rescheduled", B).await;
    stage.buys("boris@example.com", "+79161234561", "kzn-1").await;
    // A lead without a ticket hears nothing of it.
    stage.leaves_a_cart("vera@example.com", "cherry-kazan").await;
    stage.on(60).await;
    assert_eq!(stage.letters("boris@example.com"), [], "he bought for the new date");
    stage.changes("show.rescheduled", A).await;
    tells(&stage.subjects("boris@example.com")[0], &["переносится", "20.05.2027"]);
    tells(&stage.subjects("anna@example.com")[1], &["состоится 20.05.2027", "как и было"]);
    stage.changes("show.cancelled", A).await;
    assert_eq!(stage.letters("anna@example.com").len(), 3);
    assert_eq!(stage.letters("vera@example.com"), [], "she has no ticket");
}

impl Stage {
    /// The show changed at an instant, with a new date or without. Twenty minutes go by.
    async fn told_of(&mut self, id: &str, changed_at: &str, starts_at: Option<&str>) {
        let now = self.hub.now();
        let mut show = json!({ "id": "kzn-1", "title": "Вишнёвый сад", "city": "Казань", "zone": "Europe/Moscow",
            "changed_at": changed_at });
        if let Some(at) = starts_at {
            show["starts_at"] = at.into();
        }
        let body = json!({ "type": "show.rescheduled", "data": show });
        self.hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", id, now)).await;
        self.on(HOUR / 3).await;
    }
}

#[tokio::test]
async fn who_holds_a_ticket_is_told_that_a_show_is_moved_before_it_has_a_new_date() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    let now = stage.hub.now().to_string();
    stage.told_of("1", &now, None).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 1, "{letters:?}");
    tells(&letters[0], &["переносится"]);
    let text = stage.letters("anna@example.com")[0].text.clone();
    tells(&text, &["Новую дату сообщим"]);
    assert!(!text.contains("20.05"), "the old date holds no more: {text}");
    // The same word again is no news.
    let now = stage.hub.now().to_string();
    stage.told_of("2", &now, None).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1);
    stage.changes("show.rescheduled", B).await;
    tells(&stage.subjects("anna@example.com")[1], &["переносится", "22.05.2027"]);
    let now = stage.hub.now().to_string();
    stage.told_of("3", &now, None).await;
    stage.changes("show.cancelled", B).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 4, "{letters:?}");
    tells(&letters[3], &["отменяется"]);
}

#[tokio::test]
async fn of_two_changes_of_one_instant_holders_are_told_the_one_that_came_later() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    let now = stage.hub.now().to_string();
    stage.told_of("1", &now, Some("2027-05-25T16:00:00Z")).await;
    stage.told_of("2", &now, Some(B)).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 2, "{letters:?}");
    tells(&letters[1], &["переносится", "22.05.2027"]);
}

#[tokio::test]
async fn who_bought_while_the_show_was_off_is_told_so() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    stage.changes("show.cancelled", A).await;
    // The page of the show was still open.
    stage.buys("boris@example.com", "+79161234561", "kzn-1").await;
    stage.on(60).await;
    tells(&stage.subjects("boris@example.com")[0], &["отменяется"]);
    assert_eq!(stage.letters("anna@example.com").len(), 1);
}

#[tokio::test]
async fn a_time_is_told_on_the_clocks_of_the_show_also_if_its_zone_has_no_known_name() {
    let mut stage = Stage::at(noon(3)).await;
    for (n, zone) in [json!(null), json!("MSK"), json!("")].into_iter().enumerate() {
        let (show, email) = (format!("perm-{n}"), format!("fan{n}@example.com"));
        stage.buys(&email, &format!("+7916123457{n}"), &show).await;
        stage.on(60).await;
        let now = stage.hub.now();
        let body: Value = json!({ "type": "show.rescheduled", "data": { "id": show, "title": "Вишнёвый сад",
            "city": "Пермь", "starts_at": "2027-06-08T19:00:00+05:00", "zone": zone, "changed_at": now.to_string() } });
        stage.hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &show, now)).await;
        stage.on(60).await;
        tells(&stage.subjects(&email)[0], &["08.06.2027 19:00"]);
    }
    assert!(stage.chats(Platform::Sms).is_empty());
}

#[tokio::test]
async fn holders_whose_orders_bear_a_cashiers_address_hear_of_a_change_on_their_own_phones() {
    let mut stage = Stage::at(noon(3)).await;
    let phones: Vec<String> = (0..10).map(|n| format!("+7916123456{n}")).collect();
    for phone in &phones {
        stage.buys("kassa@example.com", phone, "kzn-1").await;
    }
    stage.on(60).await;
    stage.changes("show.cancelled", A).await;
    assert!(stage.letters("kassa@example.com").is_empty(), "the cashier holds no ticket");
    let arrived = stage.hub.messengers.arrived().into_iter().filter(|one| one.platform == Platform::Sms);
    let told: std::collections::BTreeSet<String> = arrived.map(|sms| sms.to).collect();
    assert_eq!(told, phones.iter().map(|phone| phone.trim_start_matches('+').to_owned()).collect());
}

#[tokio::test]
async fn who_was_told_at_a_cashiers_address_before_it_was_known_as_such_is_told_on_their_own_phone() {
    let mut stage = Stage::at(noon(3)).await;
    let phones: Vec<String> = (0..10).map(|n| format!("+7916123456{n}")).collect();
    let (first, rest) = phones.split_at(2);
    for phone in first {
        stage.buys("kassa@example.com", phone, "kzn-1").await;
    }
    stage.on(60).await;
    stage.changes("show.cancelled", A).await;
    assert_eq!(stage.letters("kassa@example.com").len(), 1, "they are one, as far as anybody knows");
    for phone in rest {
        stage.buys("kassa@example.com", phone, "kzn-1").await;
    }
    stage.on(60).await;
    let arrived = stage.hub.messengers.arrived().into_iter().filter(|one| one.platform == Platform::Sms);
    let told: std::collections::BTreeSet<String> = arrived.map(|sms| sms.to).collect();
    assert_eq!(told, phones.iter().map(|phone| phone.trim_start_matches('+').to_owned()).collect());
}

#[tokio::test]
async fn a_letter_that_was_put_off_before_its_readers_were_found_to_be_one_does_not_undo_a_later_one() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.buys("a.petrova@example.com", "+79161234561", "kzn-1").await;
    stage.on(60).await;
    stage.hub.post.put_off(Some("переносится"));
    stage.show("show.rescheduled", "kzn-1", B).await;
    stage.passes(60, |stage| stage.hub.post.held_up() >= 2).await;
    stage.buys("anna@example.com", "+79161234561", "kzn-1").await;
    stage.passes(60, |stage| Value::from(stage.hub.sandbox.contacts()).to_string().contains("duplicate of")).await;
    stage.show("show.cancelled", "kzn-1", A).await;
    stage.passes(60, |stage| !stage.hub.post.arrived().is_empty()).await;
    stage.hub.post.put_off(None);
    stage.passes(HOUR, |_| false).await;
    let addresses = ["anna@example.com", "a.petrova@example.com"];
    let letters: Vec<String> = addresses.iter().flat_map(|to| stage.subjects(to)).collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    tells(&letters[0], &["отменяется"]);
}

impl Stage {
    /// A shop that tells no city, such as pretix, sells a ticket and tells a change.
    async fn bare_shop(&mut self, kind: &str, data: Value) {
        let (now, id) = (self.hub.now(), format!("bare-{}", self.serial));
        self.serial += 1;
        let body = json!({ "type": kind, "data": data });
        self.hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, now)).await;
        self.on(HOUR / 3).await;
    }
}

#[tokio::test]
async fn who_holds_a_ticket_of_a_show_without_a_city_or_a_date_is_told_of_its_changes() {
    let mut stage = Stage::at(noon(3)).await;
    for (show, email, starts_at) in
        [("gull", "anna@example.com", Some(A)), ("hamlet", "boris@example.com", None::<&str>)]
    {
        let now = stage.hub.now().to_string();
        let mut told = json!({ "id": show, "title": "Чайка" });
        if let Some(at) = starts_at {
            told["starts_at"] = at.into();
        }
        let order = json!({
            "id": show, "number": show, "status": "paid", "updated_at": now, "placed_at": now, "paid_at": now,
            "currency": "RUB", "total": "1500.00", "buyer": { "name": "Анна", "email": email },
            "tickets": [{ "id": "t1", "show": told, "price": "1500.00" }], "refunds": [],
        });
        stage.bare_shop("order", order).await;
    }
    let now = stage.hub.now().to_string();
    let moved = json!({ "id": "gull", "title": "Чайка", "starts_at": B, "changed_at": now });
    stage.bare_shop("show.rescheduled", moved).await;
    for show in ["gull", "hamlet"] {
        let now = stage.hub.now().to_string();
        stage.bare_shop("show.cancelled", json!({ "id": show, "title": "Чайка", "changed_at": now })).await;
    }
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 2, "{letters:?}");
    tells(&letters[0].text, &["«Чайка» переносится: 22.05.2027 19:00. Билеты действительны."]);
    tells(&letters[1].text, &["«Чайка» (22.05.2027 19:00) отменяется."]);
    let letters = stage.letters("boris@example.com");
    assert_eq!(letters.len(), 1, "{letters:?}");
    tells(&letters[0].text, &["«Чайка» отменяется. Деньги"]);
}

impl Stage {
    /// A shop that only knows orders sends one again, with a date of its show.
    async fn order_again(&mut self, show: &str, email: &str, starts_at: &str) {
        let now = self.hub.now().to_string();
        let show = json!({ "id": show, "title": "Чайка", "city": "Казань", "starts_at": starts_at });
        let order = json!({
            "id": email, "number": email, "status": "paid", "updated_at": now, "placed_at": "2027-05-02T09:00:00Z",
            "paid_at": "2027-05-02T09:00:00Z", "currency": "RUB", "total": "1500.00",
            "buyer": { "name": "Анна", "email": email },
            "tickets": [{ "id": "t1", "show": show, "price": "1500.00" }], "refunds": [],
        });
        self.bare_shop("order", order).await;
    }
}

#[tokio::test]
async fn an_order_that_is_sent_again_with_another_date_tells_its_holder_that_the_show_is_moved() {
    let mut stage = Stage::at(noon(3)).await;
    for start in [A, A, B, B] {
        stage.order_again("gull", "anna@example.com", start).await;
    }
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 1, "{letters:?}");
    tells(&letters[0], &["переносится", "22.05.2027"]);
    // Boris buys for the new date. Nothing changed for him.
    stage.order_again("gull", "boris@example.com", B).await;
    assert_eq!(stage.letters("boris@example.com"), []);
    // A word about the show itself that says the same is no news, and a cancellation stands whatever orders say later.
    let moved = json!({ "id": "gull", "title": "Чайка", "starts_at": B, "changed_at": stage.hub.now().to_string() });
    stage.bare_shop("show.rescheduled", moved).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1);
    let off = json!({ "id": "gull", "title": "Чайка", "changed_at": stage.hub.now().to_string() });
    stage.bare_shop("show.cancelled", off).await;
    stage.order_again("gull", "anna@example.com", B).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 2, "{letters:?}");
    tells(&letters[1], &["отменяется"]);
}

#[tokio::test]
async fn a_holder_whose_order_was_sent_again_right_after_the_word_about_the_show_is_told() {
    let mut stage = Stage::at(noon(3)).await;
    stage.order_again("gull", "anna@example.com", A).await;
    let now = stage.hub.now();
    let moved = json!({ "type": "show.rescheduled",
        "data": { "id": "gull", "title": "Чайка", "city": "Казань", "starts_at": B, "changed_at": now.to_string() } });
    let moved = form_signed("/ticketing/theatre", &moved, "theatre-shop-secret", "moved", now);
    // Nobody has been looked at before the order comes again.
    stage.hub.take(&moved).await;
    stage.order_again("gull", "anna@example.com", B).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 1, "{letters:?}");
    tells(&letters[0], &["переносится", "22.05.2027"]);
}

#[tokio::test]
async fn a_report_that_comes_after_the_order_and_is_older_tells_nothing_again() {
    let mut stage = Stage::at(noon(3)).await;
    stage.order_again("gull", "anna@example.com", A).await;
    let told =
        |changed_at: String| json!({ "id": "gull", "title": "Чайка", "city": "Казань", "changed_at": changed_at });
    stage.bare_shop("show.rescheduled", told(stage.hub.now().to_string())).await;
    tells(&stage.subjects("anna@example.com")[0], &["переносится"]);
    let changed_at = stage.hub.now().to_string();
    stage.on(HOUR).await;
    stage.order_again("gull", "anna@example.com", B).await;
    assert_eq!(stage.letters("anna@example.com").len(), 2);
    let mut report = told(changed_at);
    report["starts_at"] = B.into();
    stage.bare_shop("show.rescheduled", report).await;
    let letters = stage.subjects("anna@example.com");
    assert_eq!(letters.len(), 2, "{letters:?}");
}
