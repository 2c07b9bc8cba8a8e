use lab::{Engine, Product};
#[test]
fn try_it() {
    let Some(engine) = Engine::start("try_it") else { return };
    let product = Product::build(&engine);
    println!("{:?}", product.dir());
}
