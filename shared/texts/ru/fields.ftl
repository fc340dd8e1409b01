### Labels of the hub's own fields in the CRM.

# amoCRM: the hub makes the fields.
fields_contact_id = Stagedoor: человек
fields_telegram_id = Telegram id
fields_channels = Мессенджеры
fields_chat = Чат
fields_last_message = Последнее сообщение
fields_last_message_at = Время последнего сообщения
fields_consent = Согласие
fields_letters = Письма
fields_segments = Сегменты
fields_deal_id = Stagedoor: сделка
fields_city = Город
fields_show_at = Начало показа
fields_orders = Заказы
fields_promo = Промокоды
fields_campaign = Кампания
fields_tickets = Действующие билеты
fields_refunded = Возвращено
fields_payment = Оплата
fields_company_id = Stagedoor: компания
fields_inn = ИНН
fields_kpp = КПП
fields_about = Stagedoor: сведения

# Vtiger: an administrator makes the fields, and the hub finds them by their labels in either language.
fields_vtiger_id = Stagedoor ID
fields_vtiger_telegram = Stagedoor Telegram
fields_vtiger_channels = Stagedoor: мессенджеры
fields_vtiger_chat = Stagedoor: чат
fields_vtiger_last_message = Stagedoor: последнее сообщение
fields_vtiger_consent = Stagedoor: согласие
fields_vtiger_letters = Stagedoor: письма
fields_vtiger_segments = Stagedoor: сегменты
fields_vtiger_city = Stagedoor: город
fields_vtiger_show_at = Stagedoor: начало показа
fields_vtiger_orders = Stagedoor: заказы
fields_vtiger_tickets = Stagedoor: билеты
fields_vtiger_refunded = Stagedoor: возвращено
fields_vtiger_promo = Stagedoor: промокоды
fields_vtiger_campaign = Stagedoor: кампания
fields_vtiger_payment = Stagedoor: оплата
fields_vtiger_paid = Stagedoor: оплачено
fields_vtiger_due = Stagedoor: к оплате
fields_vtiger_inn = Stagedoor: ИНН
fields_vtiger_kpp = Stagedoor: КПП
fields_vtiger_payments = Stagedoor: платежи
