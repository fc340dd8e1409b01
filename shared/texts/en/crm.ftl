### Fields, tags and labels of contacts and deals in the CRM.

# The chats of a contact.
crm_chat_closed = { $channel } (closed)

# Consents of a contact: `e-mail: yes, 12.11.2026 (site)`. $by is a source or a method.
crm_email = e-mail
crm_sms = SMS
crm_calls = calls
crm_messengers = messengers
crm_consent_given = { $channel }: yes, { $day } ({ $by })
crm_consent_unconfirmed = { $channel }: not confirmed, { $day } ({ $by })
crm_consent_withdrawn = { $channel }: withdrawn, { $day } ({ $by })

# The letters to a contact. The English text has no plural forms: another text would rewrite the contacts of hubs
# that have run since before the catalogues.
crm_letters = { $all } letters, { $opened } opened, { $clicked } clicked
crm_letters_opened = { $letters }, last opened { $day }
crm_letters_unreached = { $letters }; not reached: { $addresses }

# The payment state of a deal.
crm_payment_free = free
crm_payment_unpaid = unpaid
crm_payment_overdue = overdue
crm_payment_partly = partly paid
crm_payment_paid = paid
crm_payment_over = overpaid
crm_payment_refunded = refunded
# Sums in other currencies than the account's.
crm_payment_besides = besides { $sums }

# The campaign that brought a sale, and how the hub knows.
crm_campaign_by_code = { $campaign } (promo code)
crm_campaign_by_link = { $campaign } (link)
crm_campaign_by_click = { $campaign } (letter clicked)
crm_campaign_by_view = { $campaign } (letter opened)

# Names of deals without a show.
crm_deal_of_interest = Interest
crm_deal_of_goods = Goods

# The order field of a deal that the hub closed as a double.
crm_duplicate_deal = duplicate of deal { $deal }
crm_show_cancelled = { $when } (cancelled)

# Tags. The hub reads duplicate_tag again; filters and robots of the CRM may name both.
crm_duplicate_tag = duplicate of { $of }
crm_show_cancelled_tag = show cancelled

# The description of a company.
crm_company_inn = INN { $inn }
crm_company_kpp = KPP { $kpp }
crm_company_no_tax_id = Given as a tax id, and is none: { $text }
crm_company_domains = E-mails of its people are at { $domains }
