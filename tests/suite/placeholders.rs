//! What shops and forms write where they have no id joins no strangers.

use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_testkit::form_signed;
use stagedoor_tests::hub::TestHub;

fn order(n: usize, buyer: &Value) -> stagedoor_testkit::SignedRequest {
    let body = json!({ "type": "order", "data": {
        "id": format!("T-{n}"), "status": "paid", "updated_at": "2026-01-10T10:00:00Z", "placed_at": "2026-01-10T10:00:00Z",
        "currency": "RUB", "total": "1500.00", "buyer": buyer,
        "tickets": [{ "id": "t1", "show": { "id": "kzn-1" }, "price": "1500.00" }],
    }});
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &format!("order-{n}"), Timestamp::now())
}

#[tokio::test]
async fn guests_without_an_id_are_each_their_own() {
    let hub = TestHub::start().await;
    let nobody = ["0", "null", "guest", "undefined", "-", "None", "00000000-0000-0000-0000-000000000000"];
    let mut people = 0;
    for (n, id) in nobody.into_iter().enumerate() {
        for k in 0..2 {
            let n = n * 10 + k;
            let email = format!("guest{n}@example.com");
            hub.take(&order(n, &json!({ "email": email, "customer_id": id, "telegram_id": "0" }))).await;
            let body = json!({ "email": format!("site{n}@example.com"), "user_id": id });
            let id = format!("form-{n}");
            hub.take(&form_signed("/website/site", &body, "generic-source-secret", &id, Timestamp::now())).await;
            people += 2;
        }
    }
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), people);
}
