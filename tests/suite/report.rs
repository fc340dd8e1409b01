//! What letters came to: counted once each, machines apart, and sales owed to the letter that was clicked or opened.

use serde_json::{Value, json};
use stagedoor::report::report;
use stagedoor_model::Timestamp;
use stagedoor_testkit::{SignedRequest, form_signed, unisender};
use stagedoor_tests::{clock::Moved, hub::TestHub};

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

/// Times are Moscow's, as the source's zone says.
fn letter(email: &str, campaign: u32, status: &str, at: &str) -> Value {
    json!({ "event_name": "email_status", "event_time": at,
        "event_data": { "email": email, "campaign_id": campaign, "status": status } })
}

/// The seventh of January 2027, after all that is reported here.
const AFTERWARDS: i64 = 1_799_280_000;

fn order(id: &str, email: &str, at: &str, now: Timestamp) -> SignedRequest {
    let tickets = json!([{ "id": "t1", "show": { "id": "kzn-1" }, "price": "1500.00" }]);
    let body = json!({ "type": "order", "data": {
        "id": id, "number": id, "status": "paid", "updated_at": at, "placed_at": at, "paid_at": at, "currency": "RUB",
        "total": "1500.00", "buyer": { "name": "Анна", "email": email }, "tickets": tickets, "refunds": [],
    }});
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", id, now)
}

async fn told(hub: &TestHub, letters: &[Value]) {
    hub.take(&unisender("/mail/unisender", letters, KEY)).await;
}

#[tokio::test]
async fn letters_are_counted_by_campaign_and_city_and_a_sale_is_owed_to_what_was_clicked_or_opened() {
    let hub = TestHub::by(std::sync::Arc::new(Moved::at(AFTERWARDS)), |text| text).await;
    for fan in ["anna", "boris", "vera", "gone"] {
        let email = format!("{fan}@example.com");
        told(&hub, &[letter(&email, 7, "ok_sent", "2027-01-01 12:00:00")]).await;
        if fan != "gone" {
            told(&hub, &[letter(&email, 7, "ok_delivered", "2027-01-01 12:00:01")]).await;
        }
    }
    told(&hub, &[letter("gone@example.com", 7, "err_user_unknown", "2027-01-01 12:00:01")]).await;
    // Anna opens it thrice and clicks; Boris only opens it; Vera's scanner follows the link at the delivery.
    for minute in ["10", "20", "30"] {
        told(&hub, &[letter("anna@example.com", 7, "ok_read", &format!("2027-01-01 13:{minute}:00"))]).await;
    }
    told(&hub, &[letter("anna@example.com", 7, "ok_link_visited", "2027-01-01 13:31:00")]).await;
    told(&hub, &[letter("boris@example.com", 7, "ok_read", "2027-01-02 12:00:00")]).await;
    told(&hub, &[letter("vera@example.com", 7, "ok_link_visited", "2027-01-01 12:00:02")]).await;
    hub.take(&order("A-1", "anna@example.com", "2027-01-06T10:00:00Z", hub.now())).await;
    // Too long after he opened it; and once within the day.
    hub.take(&order("B-1", "boris@example.com", "2027-01-04T10:00:00Z", hub.now())).await;
    hub.take(&order("B-2", "boris@example.com", "2027-01-02T20:00:00Z", hub.now())).await;
    hub.take(&order("V-1", "vera@example.com", "2027-01-01T10:00:00Z", hub.now())).await;
    hub.settled().await;
    let report = report(&hub.hub).await.expect("a report");
    let lines = report.lines();
    assert_eq!(
        lines,
        [
            "campaign  channel  city    variant  sent  delivered  opened  clicked  bounced  bought  revenue",
            "7         email    -       -        1     0          0       0        1        0",
            "7         email    Казань  -        3     3          2       1        0        2       3000.00 RUB",
        ]
    );
    let csv = report.csv().expect("CSV");
    assert!(csv.starts_with("campaign,channel,city,variant,sent,"), "{csv}");
    assert!(csv.contains("7,email,Казань,-,3,3,2,1,0,2,3000.00,RUB"), "{csv}");
    // The deal says to what it is owed.
    let lead = hub.sandbox.leads().into_iter().find(|lead| lead.to_string().contains("A-1")).expect("a deal");
    assert!(lead.to_string().contains("7 (letter clicked)"), "{lead}");
    let page = stagedoor_tests::http().get(format!("{}/console/report", hub.console));
    let page = page.send().await.expect("a page").text().await.expect("text");
    assert!(page.contains("opened 2 of 3") && page.contains("width:66%"), "{page}");
}
