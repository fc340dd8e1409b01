### What commands print for managers.

commands_queue =
    очередь       { $count ->
        [one] { $count } событие
        [few] { $count } события
       *[many] { $count } событий
    }
commands_oldest = { $line }, старшему { $seconds } с
commands_outbox =
    исходящие     { $count ->
        [one] { $count } сообщение
        [few] { $count } сообщения
       *[many] { $count } сообщений
    } к отправке
commands_dead_letters = не обработано { $count }
commands_waiting =
    ждут CRM      { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    }
commands_longest = { $line }, дольше всех { $seconds } с
commands_parked =
    отложено      { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    } со строкой, которую CRM не приняла, или с деньгами без заказа
commands_unrecognized =
    не распознано { $count ->
        [one] { $count } событие
        [few] { $count } события
       *[many] { $count } событий
    } для повтора
commands_in_all =
    всего         { $people ->
        [one] { $people } человек
        [few] { $people } человека
       *[many] { $people } человек
    }, { $deals ->
        [one] { $deals } сделка
        [few] { $deals } сделки
       *[many] { $deals } сделок
    }, { $events ->
        [one] { $events } событие
        [few] { $events } события
       *[many] { $events } событий
    }
commands_unreadable = не читается   записей о людях и событиях, которых не читает эта версия: { $count }
commands_new_rules = новые правила людей сверено с новыми сегментами и рассылками: { $count } из { $all }
commands_alarm = тревога       { $name }, с { $since }: { $text }
commands_why = почему        { $reason }
commands_act = с { $since }; действовать: { $who }
commands_act_until = с { $since }, не дольше чем до { $until }; действовать: { $who }
commands_people_wait =
    { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    }, { $act }
commands_advertising_held = реклама       задержана с восстановления { $since }; список: `advertising`
commands_zones = пояса         нет в базе IANA: { $zones }; берётся смещение времени или пояс хаба

commands_sent = отправлено    { $count }   (не отправлено: { $not_sent })
commands_opened = открыто       { $count }{ $share }
commands_chats = чатов         { $count }{ $share }
commands_codes = промокодов    { $count }
commands_purchases = покупок       { $count }{ $share }
commands_by_code = по коду
commands_by_link = по ссылке
commands_by_click = по переходу
commands_by_view = по прочтению
commands_revenue = выручка       { $sum }
commands_unsubscribed = отписалось    { $count }

commands_one_person = один человек: { $id }
commands_two_people = два человека: { $one } и { $other }
commands_crm_follows = CRM изменится при следующем проходе
commands_not_joined = не объединены, и ничего не записано: есть решение, что это два человека. Сначала отмените его: { $commands }
commands_not_parted = не разделены, и ничего не записано: ничто не говорит об одном { $other }. Исправьте там, где это введено
commands_same_identifier = это один и тот же идентификатор; назовите два, по одному от каждого человека
commands_shared = { $identifier } — общий для многих и никого не называет; назовите человека иначе
commands_unknown = по { $identifier } никто не известен
commands_typed_crowd = { $value }  (введено в формах и чатах; данные магазинов о нём по-прежнему объединяют)
commands_no_crowd = { $identifier } не отмечен как общий
commands_lifted =
    снято; он был у { $count ->
        [one] { $count } человека
        [few] { $count } человек
       *[many] { $count } человек
    }, и те, кого не разделяет защита, теперь один человек
commands_not_held_back = { $address } не задержан: с последнего дошедшего письма ошибок не было
commands_reopened = письма туда снова пойдут, если есть согласие или оно не нужно
commands_reopened_provider = почтовый сервис тоже может его задерживать: уберите его там из стоп-листа

commands_erased_unknown = никто не был известен; идентификатор больше не появится
commands_erased =
    удалено; { $count ->
        [one] { $count } идентификатор больше не появится
        [few] { $count } идентификатора больше не появятся
       *[many] { $count } идентификаторов больше не появятся
    }
commands_erased_traces = удалено событий и ждущих сообщений о нём: { $count }
commands_off_lists = убран из рассылок: { $names }
commands_several =
    { $identifier } есть у { $count ->
        [one] { $count } человека
        [few] { $count } человек
       *[many] { $count } человек
    }; удалите каждого по его собственному идентификатору или всех с --everyone: { $people }
commands_not_erased = не удалено: { $reason }
commands_the_crm = CRM
commands_second_crm = второй CRM
commands_deleted_there = удалено в { $crm }, очистите её корзину
commands_delete_refused = удалите эти контакты в { $crm }: хабу она не дала
commands_delete_by_hand = удалите эти контакты в { $crm }: у неё нет такого вызова
commands_delete_deals = и эти сделки в { $crm }
commands_invoices_stay = эти счета остаются в { $crm } как документы учёта
commands_typed_by_others = другие указали один из его адресов; уберите его из этих контактов в { $crm }, их примечаний и задач

commands_without_name = без имени
commands_kept_apart =
    { $identifier } есть у { $count ->
        [one] { $count } человека
        [few] { $count } человек
       *[many] { $count } человек
    }, и защита их разделяет
commands_shares = общее с { $record }: { $what }
commands_made_from = запись, с которой человек начался
commands_crm_row = строка CRM, созданная для него
commands_typed_proven = указан { $claim }: он подтверждён у другого
commands_typed = указан { $claim }: не подтверждён
commands_was_joined = был объединён с { $id }
commands_apart_from = отделён защитой от { $id }

commands_in_segment =
    в { $name } { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    }
commands_member = { $id } { $name } (с { $since })
commands_is_in = { $id } в { $name } с { $since }
commands_is_not_in = { $id } не в { $name }

commands_replayed_between = событий того времени снова в очереди: { $count }
commands_replayed = событий снова в очереди: { $count }
commands_understood = теперь распознано и в очереди: { $count }
commands_not_understood = всё ещё не распознано: { $what }
commands_invited = сообщений в исходящих: { $count }; отправленное раньше не повторяется
commands_without_consent =
    { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    } не тронуты: не соглашались на SMS, отозвали согласие или номер их не принимает
commands_too_often =
    { $count ->
        [one] { $count } человек
        [few] { $count } человека
       *[many] { $count } человек
    } недавно уже получали слишком много сообщений ([manners])
commands_mirrored = прочитано контактов: { $count }, страниц: { $pages }
commands_redriven = необработанных сообщений снова в очереди: { $count }
commands_retried = повторяем для людей: { $count }
commands_authorised = доступ получен; токены хранятся в файлах хаба
commands_import_queued = строк в очереди: { $count }
commands_imported = загружено строк: { $count }, пропущено из-за ошибок: { $wrong }
commands_import_dry = пробный запуск: загрузилось бы строк: { $count }, с ошибкой: { $wrong }; ничего не изменено
