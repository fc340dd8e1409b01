//! Fields, tags and labels of contacts and deals in the CRM.

texts! { "crm":
    chat_closed(channel);
    email();
    sms();
    calls();
    messengers();
    consent_given(channel, day, by);
    consent_unconfirmed(channel, day, by);
    consent_withdrawn(channel, day, by);
    letters(all, opened, clicked);
    letters_opened(letters, day);
    letters_unreached(letters, addresses);
    payment_free();
    payment_unpaid();
    payment_overdue();
    payment_partly();
    payment_paid();
    payment_over();
    payment_refunded();
    payment_besides(sums);
    campaign_by_code(campaign);
    campaign_by_link(campaign);
    campaign_by_click(campaign);
    campaign_by_view(campaign);
    company_inn(inn);
    company_kpp(kpp);
    company_no_tax_id(text);
    company_domains(domains);
    deal_of_interest();
    deal_of_goods();
    duplicate_deal(deal);
    duplicate_tag(of);
    show_cancelled_tag();
    show_cancelled(when);
}
