//! Closing documents of orders: invoices, and the comments that stand for them.

texts! { "invoices":
    service();
    visitors();
    order();
    discount();
    fees();
    subject(number, key);
    vat(rate, tax);
    came(day, money);
    went_back(day, money);
    document(key, number);
    total(money);
    moved(received, returned, status);
    created();
    paid();
    cancelled();
}
