//! Notes in the CRM: conversations, forms, and what the hub did to contacts.

texts! { "notes":
    opened(at, channel);
    opened_through_link(at, channel);
    opened_with(at, channel, token);
    undelivered(at, channel);
    undelivered_because(at, channel, code);
    content(kind);
    missing(channel);
    form(name);
    form_cut();
    same_person(of);
    duplicate_of(of);
    has_duplicate(contact);
    parted();
    counts();
}
