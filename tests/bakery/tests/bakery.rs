#[test]
fn sold_order_is_counted() {
    let recorded = wasmetry::testing::capture();
    bakery::sell(&bakery::load(7).unwrap());
    bakery::heat_oven(230.5);
    recorded.assert_includes(&[r#"loaves_sold_total{flour="rye"} 3"#, "oven_temperature_celsius 230.5"]);
    recorded.assert_logs(&["INFO order 7 sold loaves=3", "INFO the oven is hot celsius=230.5"]);
    recorded.assert_spans(&["load id=7"]);
}
