### Notes in the CRM: conversations, forms, and what the hub did to contacts.

notes_opened = { $at } { $channel }: чат открыт
notes_opened_through_link = { $at } { $channel }: чат открыт по ссылке
notes_opened_with = { $at } { $channel }: чат открыт со словом «{ $token }»
notes_undelivered = { $at } { $channel } ◂ не доставлено
notes_undelivered_because = { $at } { $channel } ◂ не доставлено ({ $code })
notes_content =
    { $kind ->
        [animation] анимация
        [attachment] вложение
        [audio] аудио
        [button] кнопка
        [contact] контакт
        [document] документ
        [edited] исправлено
        [file] файл
        [form] форма
        [forwarded] пересланное
        [image] изображение
        [location] место
        [photo] фото
        [picture] изображение
        [quote] цитата
        [sticker] стикер
        [video] видео
        [video_note] видеосообщение
        [voice] голосовое сообщение
       *[other] { $kind }
    }
notes_missing = … { $channel }: более ранних строк здесь может не хватать; их выводит `stagedoor export`

notes_form = форма «{ $name }»
notes_form_cut = … (остальное выводит `stagedoor export`)

notes_same_person = Тот же человек, что и контакт { $of }: совпадает телефон, e-mail или заказ. Сделки перенесены туда; объедините контакты в интерфейсе.
notes_duplicate_of = Дубликат { $of }: сделки перенесены туда
notes_has_duplicate = { $contact } — дубликат этого контакта: объедините их
notes_parted = Два человека разделены: этот контакт больше не дубликат контактов другого
notes_counts = Больше не дубликат: это контакт своего человека
