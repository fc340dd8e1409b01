//! Why people and events wait, and who has to act. The hub keeps these sentences in English: a Russian one is found by
//! its English one, the first that fits.

pub use crate::catalogue::translated;

texts! { "reasons":
    nobody();
    owner();
    administrator();
    shop();
    list_provider();
    manager_row();
    operator_version();
    operator_shared();
    facts_outgrew();
    crm_outgrew();
    shop_silent(one);
    list_silent(one);
    no_answer_stands();
    rows_refused();
    money_unmatched();
    manager_money();
    people_unreadable(one, two);
    events_unreadable(one, two);
    late_call();
    second_crm(one);
    unusable_because(one);
    unusable();
    refuses(one);
    not_paid();
    token();
    right();
    limit();
    several_tries();
    no_connection();
    no_answer();
    no_session();
    no_answer_of(one);
    error_says_nothing();
    error_for_row();
    error_of(one);
    web_page();
    points_elsewhere(one);
    no_api(one);
    no_webservice(one);
    answers(one);
    no_stage(one, two);
    no_stages(one);
    no_sales_stage(one);
    hides_kind(one);
    hides_rows();
    may_not_read(one);
    fresh_session(one);
}
