//! Tasks for managers in the CRM.

texts! { "tasks":
    doubt(channel);
    loop_of_robots(channel);
    not_understood(channel);
    contested(value, kind, own, claim);
    unread(kind, value);
    company(company);
    order(number, what);
    order_returned(number, what, returned);
    more_back(received);
    cancelled_kept(kept);
    paid_twice(asked, received, count);
    too_much(asked, received);
    too_little(asked, received);
    other_currency(number, asked, received);
    other_currency_returned(number, asked, received, returned);
    dispute(money, number);
    money_of_order(moved, name, source);
    money_of_payment(moved, name, source);
    came(money);
    went_back(money);
}
