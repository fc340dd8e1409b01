### Tasks for managers in the CRM.

tasks_doubt = Возможно, человек больше не хочет рекламы: прочтите, что он написал в { $channel }, и уточните у него там же
tasks_loop_of_robots = Похоже, в { $channel } нашему боту отвечает другой робот: бот молчит. Если это человек, ответьте ему там
tasks_not_understood = Бот не понял, что человек написал в { $channel }: ответьте ему там (переписка в примечаниях)

tasks_contested =
    Человек указал { $value } как { $kind ->
        [phone] свой телефон
        [email] свой e-mail
       *[other] свои данные ({ $kind })
    }. Это данные другого контакта, и ничто не доказывает, что они его: ничего не рассказывайте ему о том контакте. Если это один человек, объедините их: stagedoor join { $own } { $claim }
tasks_unread =
    { $kind ->
        [phone] Телефон, который оставил человек, не читается
        [email] E-mail, который оставил человек, не читается
       *[other] Данные ({ $kind }), которые оставил человек, не читаются
    }: { $value }
tasks_company = В открытой форме сказано, что обращаются от компании, и ничто этого не доказывает: { $company }

tasks_order = Заказ { $number } { $what }. Решите, что вернуть или дополучить.
tasks_order_returned = Заказ { $number } { $what }, возвращено { $returned }. Решите, что вернуть или дополучить.
tasks_more_back = — возвращено больше, чем оплачено: получено { $received }
tasks_cancelled_kept = отменён, а { $kept } за него получено и не возвращено
tasks_paid_twice =
    оплачен дважды: к оплате { $asked }, получено { $received } за { $count ->
        [one] { $count } платёж
        [few] { $count } платежа
       *[many] { $count } платежей
    }
tasks_too_much = оплачен с избытком: к оплате { $asked }, получено { $received }
tasks_too_little = оплачен не полностью: к оплате { $asked }, получено { $received }
tasks_other_currency = Заказ { $number } стоит { $asked }, а получено за него { $received } в другой валюте. Решите, что этим оплачено.
tasks_other_currency_returned = Заказ { $number } стоит { $asked }, а получено за него { $received } в другой валюте, возвращено { $returned }. Решите, что этим оплачено.
tasks_dispute = Банк плательщика требует вернуть { $money } за заказ { $number }: ответьте на спор у платёжного сервиса.

tasks_money_of_order = { $moved } за заказ { $name } ({ $source }), о котором магазин не сообщал.
tasks_money_of_payment = { $moved } по платежу { $name } ({ $source }), о котором магазин не сообщал.
tasks_came = получено { $money }
tasks_went_back = возвращено { $money }
