### Pages for fans: the messengers of a campaign, unsubscribing, confirming an address.

pages_choose = Выберите мессенджер, и бот пришлёт ваш промокод:
pages_personal = Ссылка личная: не пересылайте её, у каждого своя.
pages_this_language = По-русски

pages_unsubscribe_title = Отписаться от писем?
pages_unsubscribe = Мы перестанем присылать новости и предложения. Письма о ваших билетах будут приходить.
pages_unsubscribe_button = Отписаться
pages_confirm_title = Подтвердите адрес
pages_confirm = Нажмите кнопку, и мы будем присылать новости на этот адрес.
pages_confirm_button = Подтвердить

pages_unsubscribed_title = Вы отписаны
pages_unsubscribed = Новостей и предложений больше не будет.
pages_thanks = Спасибо!
pages_answered = Мы получили ваш ответ. Он действует, если после нашего письма вы не отписались.
pages_confirmed = Адрес подтверждён.

pages_expired_title = Ссылка больше не действует
pages_expired = Её срок вышел. Напишите нам, и мы пришлём новую.
pages_unknown_title = Такой ссылки нет
pages_unknown = Проверьте, целиком ли она скопирована.
pages_too_many_title = Слишком много запросов
pages_too_many = Попробуйте через минуту.
