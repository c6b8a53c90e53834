use wasmetry::info;

fn main() {
    let user = 7;
    info!("signed in: {");
    info!("signed in: }");
    info!("signed in: {user");
    info!("signed in: {user {}", user);
    info!("signed in: {}");
    info!("signed in: {1}", user);
    info!("signed in: {user.name}");
    info!("signed in", user);
    info!("signed in", user = user);
    info!("signed in: {}" user);
    info!("signed in: {}", user user);
}
