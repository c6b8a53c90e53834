use wasmetry::{audit, debug, error, info, log, trace, warn, Level};

fn main() {
    let (user, cart) = (7, [1, 2]);
    info!(user cart, "signed in");
    info!(user = , "signed in");
    info!(user = % , "signed in");
    info!(%, "signed in");
    info!(3, "signed in");
    info!(user., "signed in");
    info!(%user = user, "signed in");
    info!(user, user = 8, "signed in");
    info!("" = 8, "signed in");
    info!(format!("signed in {user}"));
    info!(level: Level::Info, "signed in");
    info!(user, target: "auth", "signed in");
    info!(target: "auth", target: "audit", "signed in");
    info!(target: , "signed in");
    error!(user = 1; cart = 2);
    warn!(user -> cart);
    debug!(user: 3);
    trace!(user == 3);
    audit!(target: "auth", "signed in");
    log!(Level::Info, user cart);
    info!(
        a = 1, b = 1, c = 1, d = 1, e = 1, f = 1, g = 1, h = 1, i = 1, j = 1, k = 1, l = 1, m = 1, n = 1, o = 1, p = 1, q = 1,
        r = 1, s = 1, t = 1, u = 1, v = 1, w = 1, x = 1, y = 1, z = 1, aa = 1, bb = 1, cc = 1, dd = 1, ee = 1, ff = 1, gg = 1,
    );
}
