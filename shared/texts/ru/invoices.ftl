### Closing documents of orders: invoices, and the comments that stand for them.

invoices_service = Билет
invoices_visitors = Частные лица

invoices_order = Заказ
invoices_discount = Скидка
invoices_fees = Сборы

invoices_subject = Заказ { $number }, { $key }
invoices_vat = в том числе НДС { $rate } %: { $tax }
invoices_came = { $day } получено { $money }
invoices_went_back = { $day } возвращено { $money }

invoices_document = Закрывающий документ { $key } (заказ { $number })
invoices_total = Итого { $money }
invoices_moved = Получено { $received }, возвращено { $returned }: { $status }
invoices_created = выставлен
invoices_paid = оплачен
invoices_cancelled = отменён
