### Fields, tags and labels of contacts and deals in the CRM.

crm_chat_closed = { $channel } (закрыт)

crm_email = e-mail
crm_sms = SMS
crm_calls = звонки
crm_messengers = мессенджеры
crm_consent_given = { $channel }: да, { $day } ({ $by })
crm_consent_unconfirmed = { $channel }: не подтверждено, { $day } ({ $by })
crm_consent_withdrawn = { $channel }: отозвано, { $day } ({ $by })

crm_letters =
    { $all ->
        [one] { $all } письмо
        [few] { $all } письма
       *[many] { $all } писем
    }, { $opened } прочитано, { $clicked ->
        [one] { $clicked } переход
        [few] { $clicked } перехода
       *[many] { $clicked } переходов
    }
crm_letters_opened = { $letters }, последнее прочтение { $day }
crm_letters_unreached = { $letters }; не доходит: { $addresses }

crm_payment_free = бесплатно
crm_payment_unpaid = не оплачено
crm_payment_overdue = просрочено
crm_payment_partly = оплачено частично
crm_payment_paid = оплачено
crm_payment_over = переплачено
crm_payment_refunded = возвращено
crm_payment_besides = кроме того { $sums }

crm_campaign_by_code = { $campaign } (промокод)
crm_campaign_by_link = { $campaign } (ссылка)
crm_campaign_by_click = { $campaign } (переход из письма)
crm_campaign_by_view = { $campaign } (открытое письмо)

crm_deal_of_interest = Интерес
crm_deal_of_goods = Товары

crm_duplicate_deal = дубликат сделки { $deal }
crm_show_cancelled = { $when } (отменено)

crm_duplicate_tag = дубликат { $of }
crm_show_cancelled_tag = показ отменён

crm_company_inn = ИНН { $inn }
crm_company_kpp = КПП { $kpp }
crm_company_no_tax_id = Указано как ИНН, но это не ИНН: { $text }
crm_company_domains = E-mail её людей на { $domains }
