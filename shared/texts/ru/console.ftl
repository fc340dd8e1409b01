### Pages of the console.

console_not_found = Не найдено

console_nav_waiting = Ждут
console_nav_parked = Отложено
console_nav_unrecognized = Не распознано
console_nav_report = Отчёт

console_home = Что пришло и что из этого вышло
console_tile_people =
    { $count ->
        [one] человек
        [few] человека
       *[many] человек
    }
console_tile_deals =
    { $count ->
        [one] сделка в CRM
        [few] сделки в CRM
       *[many] сделок в CRM
    }
console_tile_events =
    { $count ->
        [one] событие
        [few] события
       *[many] событий
    }
console_tile_queue = в очереди
console_tile_waiting = ждут CRM
console_tile_parked = отложено
console_tile_unrecognized = не распознано
console_tile_dead_letters =
    { $count ->
        [one] сообщение не обработано
        [few] сообщения не обработаны
       *[many] сообщений не обработано
    }
console_alarms = Тревоги
console_why = Почему что-то ждёт
console_people =
    { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    }
console_since = с
console_until = не дольше чем до
console_to_act = Действовать
console_zones = Часовые пояса показов, которых нет в базе IANA; берётся смещение времени или пояс хаба
console_find_hint = Телефон, e-mail или customer/qtickets:235
console_identifier = Идентификатор
console_find = Найти
console_latest = Последние события
console_nothing_came = Пока ничего не пришло.
console_refused = Отклонено с начала работы

console_person = человек
console_show_changed = показ изменён
console_kept = сохранено как нераспознанное
console_about_nobody = ни о ком из известных
console_contact = контакт { $id }
console_deal = сделка { $id }
console_not_in_crm = ещё не в CRM

console_waiting_title = Ждут CRM
console_waiting = Люди, чьи контакты или сделки в CRM ещё не такие, как должны быть. Делать ничего не надо: хаб повторяет сам.
console_nobody_waits = Никто не ждёт.
console_without_name = без имени
console_parked_title = Отложено
console_parked = Строки, которые CRM не принимает. Каждая отправится сама, когда её человек изменится; когда причина в CRM устранена, повторите все. Деньги, которые не подходят ни к одному заказу или пришли в другой валюте, стоят здесь, пока не найдут места.
console_nothing_parked = Ничего не отложено.
console_try_all = Повторить все
console_unrecognized_title = Не распознано
console_unrecognized = Подлинные события, которые не поняла ни одна программа разбора. Они хранятся целиком; повторите их, когда разбор научится.
console_none = Нет.
console_replay = Повторить

console_report_title = Отчёт
console_report_empty = Нет ни писем, ни продаж, к которым они привели.
console_delivered = доставлено
console_opened = прочитано
console_clicked = переходов
console_part = { $what } { $count } из { $all }
console_bounced = не дошло { $count }
console_bought = куплено { $count }
console_effects = Что дали рассылки
console_effects_about = Сколько из тех, кому написали, и из тех, кому не писали, купило в следующие дни.
console_bought_of = купили { $count } из { $all }
console_as_csv = В CSV
console_effects_as_csv = Что дали рассылки, в CSV

console_in_crm = В CRM
console_not_yet = ещё нет
console_phone = Телефон
console_email = E-mail
console_kind =
    { $kind ->
        [phone] телефон
        [email] e-mail
       *[other] { $kind }
    }
console_not_confirmed = не подтверждено
console_id = Номер
console_contact_refused = CRM не принимает контакт: { $reason }
console_contact_waits = Контакт ждёт: { $reason }
console_deals = Сделки
console_stage =
    { $stage ->
        [interested] интерес
        [talked] переговоры
        [promo_issued] промокод выдан
        [cart] корзина
        [paid] оплачено
        [attended] посетил
        [refunded] возврат
        [lost] потеряно
       *[other] { $stage }
    }
console_refunded = (возвращено { $sum })
console_show_cancelled = показ отменён
console_starts = начало
console_orders = заказы { $orders }
console_deal_waits = Ждёт: { $reason }
console_in_segments = Сегменты:
console_written = Что ему писали
console_held_out = не писали (контрольная группа)
console_read = прочитано
console_not_taken = не принято
console_timeline = История
console_why_one = Почему это один человек?
console_shares = общее с { $record }: { $what }
console_first_record = первая запись
console_apart = Разделены защитой
console_no_name = Без имени

console_happened = Произошло
console_folded = Учтено
console_source = Источник
console_human = Человек
console_note = Примечание

console_no_identifier = Это не идентификатор. Введите телефон, e-mail или вид:значение, например customer/qtickets:235.
console_unknown_identifier = По этому идентификатору никто не известен.
console_no_person_id = Это не номер человека.
console_unknown_person = Человека с этим номером нет.
console_unknown_event = События с этим номером нет.
