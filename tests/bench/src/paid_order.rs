use serde_json::{Value, json};

/// A paid order of one ticket for one fan.
pub fn order(n: usize) -> Value {
    let show = ["msk-1", "kzn-1", "nn-1"].get(n % 3).copied().unwrap_or("msk-1");
    json!({ "type": "order", "data": {
        "id": format!("B-{n}"), "number": n.to_string(), "status": "paid", "currency": "RUB", "total": "1500.00",
        "placed_at": "2027-01-10T10:00:00Z", "paid_at": "2027-01-10T10:05:00Z", "updated_at": "2027-01-10T10:05:00Z",
        "buyer": { "name": format!("Fan {n}"), "email": format!("fan{n}@example.com"), "phone": format!("+7{}", digits(n)) },
        "tickets": [{ "id": format!("t{n}"), "show": { "id": show }, "price": "1500.00" }],
    }})
}

pub fn digits(n: usize) -> String {
    format!("916{:07}", 1_000_000 + n)
}
