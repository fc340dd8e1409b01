//! Pages for fans: the messengers of a campaign, unsubscribing, confirming an address.

texts! { "pages":
    choose();
    personal();
    this_language();
    unsubscribe_title();
    unsubscribe();
    unsubscribe_button();
    confirm_title();
    confirm();
    confirm_button();
    unsubscribed_title();
    unsubscribed();
    thanks();
    answered();
    confirmed();
    expired_title();
    expired();
    unknown_title();
    unknown();
    too_many_title();
    too_many();
}
