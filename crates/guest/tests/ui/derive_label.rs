use wasmetry::Label;

#[derive(Clone, Copy, Label)]
enum Either<T> {
    One(T),
}

#[derive(Clone, Copy, Label)]
enum Never {}

#[derive(Clone, Copy, Label)]
enum Outcome {
    Done,
    Failed(u32),
    Refused { code: u16 },
    #[label("done")]
    Finished,
}

#[derive(Clone, Copy, Label)]
#[label(rename = "UPPERCASE")]
enum Unknown {
    One,
}

#[derive(Clone, Copy, Label)]
#[label(rename_all = "camelCase")]
enum Camel {
    One,
}

#[derive(Clone, Copy, Label)]
#[label(rename_all = UPPERCASE)]
enum Bare {
    One,
}

#[derive(Clone, Copy, Label)]
#[label = "UPPERCASE"]
enum Equals {
    One,
}

#[derive(Clone, Copy, Label)]
#[label(crate)]
enum Crate {
    One,
}

#[derive(Clone, Copy, Label)]
enum Values {
    #[label(1)]
    One,
    #[label = "two"]
    Two,
    #[label("three", "drei")]
    Three,
    #[label("")]
    Four,
    #[label("five")]
    #[label("fünf")]
    Five,
    #[label]
    Six,
}

fn main() {}
