### Labels of the hub's own fields in the CRM.

# amoCRM: the hub makes the fields.
fields_contact_id = Stagedoor: person
fields_telegram_id = Telegram id
fields_channels = Messengers
fields_chat = Chat
fields_last_message = Last message
fields_last_message_at = Last message at
fields_consent = Consent
fields_letters = Letters
fields_segments = Segments
fields_deal_id = Stagedoor: deal
fields_city = City
fields_show_at = Show starts
fields_orders = Orders
fields_promo = Promo codes
fields_campaign = Campaign
fields_tickets = Live tickets
fields_refunded = Refunded
fields_payment = Payment
fields_company_id = Stagedoor: company
fields_inn = ИНН
fields_kpp = КПП
fields_about = Stagedoor: about

# Vtiger: an administrator makes the fields, and the hub finds them by their labels in either language.
fields_vtiger_id = Stagedoor ID
fields_vtiger_telegram = Stagedoor Telegram
fields_vtiger_channels = Stagedoor channels
fields_vtiger_chat = Stagedoor chat
fields_vtiger_last_message = Stagedoor last message
fields_vtiger_consent = Stagedoor consent
fields_vtiger_letters = Stagedoor letters
fields_vtiger_segments = Stagedoor segments
fields_vtiger_city = Stagedoor city
fields_vtiger_show_at = Stagedoor show at
fields_vtiger_orders = Stagedoor orders
fields_vtiger_tickets = Stagedoor tickets
fields_vtiger_refunded = Stagedoor refunded
fields_vtiger_promo = Stagedoor promo codes
fields_vtiger_campaign = Stagedoor campaign
fields_vtiger_payment = Stagedoor payment
fields_vtiger_paid = Stagedoor paid
fields_vtiger_due = Stagedoor due
fields_vtiger_inn = Stagedoor INN
fields_vtiger_kpp = Stagedoor KPP
fields_vtiger_payments = Stagedoor payments
