### Why people and events wait, and who has to act. The hub keeps these sentences in English: a Russian one is found
### by its English one, the first that fits.

reasons_nobody = никто: повторяется само
reasons_owner = владелец аккаунта CRM
reasons_administrator = администратор CRM или оператор (stagedoor.toml)
reasons_shop = тот, кто ведёт магазин
reasons_list_provider = сервис рассылок
reasons_manager_row = менеджер: исправить строку, затем `stagedoor retry-parked`
reasons_operator_version = оператор: запустить версию, которая их записала, или новее
reasons_operator_shared = оператор: внести общий для многих людей телефон или e-mail в `[identity] blocked`, перезапустить, затем `stagedoor replay --from <время>`

reasons_facts_outgrew = данные человека не помещаются в один документ хранилища: новые события о нём только записываются в журнал
reasons_crm_outgrew = данные о человеке в CRM не помещаются в один документ хранилища: по нему ничего не отправляется
reasons_shop_silent = магазин { $one } не отвечает; его заказы ждут в очереди
reasons_list_silent = список рассылки { $one } не отвечает; его состав изменится позже
reasons_no_answer_stands = CRM не дала определённого ответа о строках этих людей
reasons_rows_refused = CRM отклонила строки этих людей; причины показывает `stagedoor parked`
reasons_money_unmatched = деньги этих людей не подходят ни к одному заказу или пришли в другой валюте; их показывает `stagedoor parked`
reasons_manager_money = менеджер: выяснить, за что это, или вернуть деньги
reasons_people_unreadable = эта версия не читает записи { $one } людей: { $two }
reasons_events_unreadable = эта версия не читает { $one } событий: { $two }
reasons_late_call = вызов CRM остался без ответа и ещё может исполниться; до этого срока его строки ищутся
reasons_second_crm = вторая CRM: { $one }

reasons_unusable_because = CRM сейчас недоступна: { $one }
reasons_unusable = CRM сейчас недоступна
reasons_refuses = CRM не пускает хаб: { $one }
reasons_not_paid = аккаунт не оплачен
reasons_token = токен доступа не принят; авторизуйте хаб заново
reasons_right = пользователю хаба не хватает права
reasons_limit = аккаунт заблокирован за превышение лимита запросов
reasons_several_tries = несколько попыток остались без нормального ответа
reasons_no_connection = нет соединения
reasons_no_answer = нет ответа
reasons_no_session = нет сессии
reasons_no_answer_of = { $one }: нет ответа
reasons_error_says_nothing = отвечает ошибкой без пояснений
reasons_error_for_row = на эту строку отвечает ошибкой без пояснений; другие строки принимает
reasons_error_of = { $one }: отвечает ошибкой без пояснений
reasons_web_page = вместо веб-сервиса отвечает страницей сайта
reasons_points_elsewhere = отвечает { $one } и отсылает на другой адрес; адрес аккаунта мог измениться: проверьте crm.base_url
reasons_no_api = отвечает { $one } вместо API; если это надолго, проверьте crm.base_url
reasons_no_webservice = отвечает { $one } вместо веб-сервиса; если это надолго, проверьте адрес CRM
reasons_answers = отвечает { $one }
reasons_no_stage = в CRM нет этапа { $one } в воронке { $two }; создайте его или измените конфигурацию
reasons_no_stages = в CRM нет этапов { $one }; создайте их или измените конфигурацию
reasons_no_sales_stage = в CRM нет стадии { $one }; добавьте её в список или измените конфигурацию
reasons_hides_kind = CRM больше не показывает хабу { $one }: верните его пользователю право на просмотр
reasons_hides_rows = CRM скрывает строки хаба от его пользователя: верните пользователю право на просмотр
reasons_may_not_read = пользователь хаба не может читать или менять { $one }: дайте ему право или смените ответственного
reasons_fresh_session = новая сессия не принята: { $one }
