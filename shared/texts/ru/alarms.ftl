### Alarms of a hub on one machine.

alarms_people_wait = CRM ждут { $count } чел., дольше всех с { $since }.
alarms_why = { $before } Почему: { $reason }. Действовать: { $who }.
alarms_rejected = источник { $source }: доставок с неверной подписью за десять минут: { $count }, или с другого адреса. Сверьте секрет с тем, что у провайдера, а сайт или аккаунт — с настройками
alarms_dead_letters = отложено как необработанные: { $count } ({ $parts }). Список: `stagedoor dead-letters`; устраните причину, затем `stagedoor redrive`
alarms_silent_since_config = источник { $source }: с тех пор как он в конфигурации ({ $since }), ничего не пришло. Проверьте, настроен ли вебхук у провайдера
alarms_silent = источник { $source }: с { $since } ничего не приходит; за четыре недели самый долгий перерыв был { $hours } ч. Проверьте, не отключён ли вебхук у провайдера

alarms_people_wait_over = никто больше не ждёт CRM долго
alarms_rejected_over = источник { $source }: десять минут без неверных подписей
alarms_dead_letters_over = необработанных сообщений больше нет
alarms_silent_over = источник { $source } снова присылает данные

alarms_again = { $what }. С прошлого сообщения начиналось ещё раз: { $times }
alarms_still = Продолжается с { $since }: { $what }
alarms_over = Закончилось: { $what }
