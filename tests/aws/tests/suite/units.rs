use serde_json::json;
use stagedoor::tour::send;
use stagedoor_proof::hub::{AwsHub, Options};
use stagedoor_testkit::{SignedRequest, form_signed};

const FANS: u64 = 40;

/// Forms that the site's server signs.
fn forms(visit: &str) -> Vec<SignedRequest> {
    let now = stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock);
    let fan = |n: u64| {
        let (phone, email) = (format!("+7916777{n:04}"), format!("fan{n}@example.com"));
        let body = json!({ "kind": "lead", "name": "Фан", "phone": phone, "email": email, "show": "cherry-moscow" });
        form_signed("/website/site", &body, "generic-source-secret", &format!("{visit}-{n}"), now)
    };
    (0..FANS).map(fan).collect()
}

fn orders() -> Vec<SignedRequest> {
    let now = stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock);
    let order = |n: u64| {
        let body = json!({ "type": "order", "data": {
            "id": format!("T-{n}"), "number": format!("T-{n}"), "status": "paid", "updated_at": "2027-01-10T10:05:00Z",
            "placed_at": "2027-01-10T10:00:00Z", "paid_at": "2027-01-10T10:05:00Z", "currency": "RUB", "total": "1500.00",
            "buyer": { "name": "Фан", "email": format!("fan{n}@example.com"), "phone": format!("+7916777{n:04}") },
            "tickets": [{ "id": "t1", "show": { "id": "msk-1" }, "price": "1500.00" }], "refunds": [],
        }});
        form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &format!("msg_{n}"), now)
    };
    (0..FANS).map(order).collect()
}

/// Write units of folding alone, in the tables that grow with events, and in the pages.
async fn fold(hub: &mut AwsHub, parcels: Vec<SignedRequest>) -> (u64, u64) {
    let units = |hub: &AwsHub| {
        let writes = hub.meter.counts().writes;
        let of = |table: &str| writes.get(&("sync".into(), format!("stagedoor-{table}"))).copied().unwrap_or(0);
        (of("journal") + of("people") + of("names"), of("misc"))
    };
    let before = units(hub);
    hub.pause();
    send(parcels, &hub.base).await.unwrap();
    hub.resume();
    for _ in 0..200 {
        if hub.operator.queue.depth().await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let after = units(hub);
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_costs_two_write_units_for_a_known_person_and_four_for_a_new_one() {
    // The window lets each wave be one batch or two.
    let mut options = Options::default();
    options.parameters["BatchWindowSeconds"] = json!(3);
    let mut hub = AwsHub::start(options).await;
    // The CRM is down: what is counted is folding.
    hub.sandbox.set_down(true);
    let (new, pages) = fold(&mut hub, forms("first")).await;
    assert_eq!(new, FANS * 4, "the journal, the person, the phone's name, the e-mail's name");
    assert!(pages <= 24, "{pages} units of pages, counters and leases");
    let (known, pages) = fold(&mut hub, forms("second")).await;
    assert_eq!(known, FANS * 2, "the journal and the person");
    assert!(pages <= 24, "{pages} units of pages, counters and leases");
    // An order is a name too (docs/decisions/0006).
    let (ordered, _) = fold(&mut hub, orders()).await;
    assert_eq!(ordered, FANS * 3, "the journal, the person, the order's name");
}
