use wasmetry::{Level, instrument};

#[instrument]
struct Cart;

#[instrument(kind = client, skip_all)]
trait Load {
    fn load();
}

#[instrument]
const fn constant() {}

#[instrument(colour = "red")]
fn unknown() {}

#[instrument("load")]
fn literal() {}

#[instrument(name = load)]
fn unquoted() {}

#[instrument(name)]
fn unnamed() {}

#[instrument(name = "")]
fn empty() {}

#[instrument(name = "a", name = "b")]
fn twice() {}

#[instrument(level = )]
fn levelless() {}

#[instrument(target)]
fn untargeted() {}

#[instrument(kind = "client")]
fn kind(user: u32) {}

#[instrument(kind = query)]
fn unknown_kind(user: u32) {}

#[instrument(skip = user)]
fn skip(user: u32) {}

#[instrument(skip(usr))]
fn unknown_skip(user: u32) {}

#[instrument(fields = 3)]
fn fields() {}

#[instrument(fields(a b))]
fn field() {}

#[instrument(fields(a = 1, a = 2))]
fn same_field() {}

#[instrument(crate = "wasmetry")]
fn krate() {}

#[instrument(err skip_all)]
fn no_comma(user: u32) {}

#[instrument(
    fields(
        a = 1, b = 1, c = 1, d = 1, e = 1, f = 1, g = 1, h = 1, i = 1, j = 1, k = 1, l = 1, m = 1, n = 1, o = 1, p = 1, q = 1,
        r = 1, s = 1, t = 1, u = 1, v = 1, w = 1, x = 1, y = 1, z = 1, aa = 1, bb = 1, cc = 1, dd = 1, ee = 1, ff = 1,
    ),
)]
fn many(user: u32) {}

fn main() {
    let _ = Level::Info;
}
