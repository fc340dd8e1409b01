### Messages to fans that the config does not have to write: codes, and the end of letters.

fans_code_sms = Код: { $code }. Его запросили в чате. Если это не вы, никому его не сообщайте.
fans_code_subject = Код подтверждения
fans_code_letter =
    Здравствуйте! Ваш код: { $code }. Введите его в чате в течение 15 минут.

    Если вы не просили код, никому его не сообщайте.
fans_code_sent = Мы отправили код из шести цифр. Напишите его сюда в течение 15 минут.
fans_code_wrong = Код не подходит. Проверьте его и напишите ещё раз.
fans_code_ended = Этот код больше не действует. Напишите номер или адрес ещё раз, и мы отправим новый.

fans_unsubscribe = Отписаться
