//! The result of a function's body, for attributes that run it in a span and read the result.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{
    Block, GenericArgument, Path, PathArguments, PathSegment, ReturnType, Signature, Type, TypeParamBound, parse_quote,
};

/// The form of a function's result.
pub(crate) enum Result {
    /// The function returns the result.
    Now,
    /// The function is an `async fn`, or returns `impl Future`, with a result of this type.
    Future(Type),
    /// The function returns `Pin<Box<dyn Future>>`, with a result of this type. The path is that of
    /// `Box`.
    Boxed(Type, Path),
}

impl Result {
    /// The form of the result of a function with this signature.
    pub(crate) fn of(signature: &Signature) -> Self {
        if signature.asyncness.is_some() {
            return Self::Future(output(signature));
        }
        let ReturnType::Type(_, ty) = &signature.output else { return Self::Now };
        match &**ty {
            Type::ImplTrait(ty) => ty.bounds.iter().find_map(future_output).map_or(Self::Now, Self::Future),
            ty => boxed(ty).map_or(Self::Now, |(output, path)| Self::Boxed(output, path)),
        }
    }
}

/// The result's type and the path of `Box` in a type `Pin<Box<dyn Future>>`.
fn boxed(ty: &Type) -> Option<(Type, Path)> {
    let (_, pinned) = argument(ty, "Pin")?;
    let (path, inner) = argument(pinned, "Box")?;
    let Type::TraitObject(object) = inner else { return None };
    let output = object.bounds.iter().find_map(future_output)?;
    let mut path = path.clone();
    if let Some(last) = path.segments.last_mut() {
        last.arguments = PathArguments::None;
    }
    Some((output, path))
}

/// The path of a type `Name<Argument>`, and the argument.
fn argument<'a>(ty: &'a Type, name: &str) -> Option<(&'a Path, &'a Type)> {
    let Type::Path(ty) = ty else { return None };
    let last = ty.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some((&ty.path, inner)),
        _ => None,
    })
}

/// The type of a future's result, if the bound is `Future`.
fn future_output(bound: &TypeParamBound) -> Option<Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let future = bound.path.segments.last().filter(|last| last.ident == "Future")?;
    let PathArguments::AngleBracketed(arguments) = &future.arguments else { return Some(parse_quote!(_)) };
    let output = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(ty) if ty.ident == "Output" => Some(ty.ty.clone()),
        _ => None,
    });
    let mut output = output.unwrap_or_else(|| parse_quote!(_));
    infer(&mut output);
    Some(output)
}

/// The return type as it can be written in the function's body: with `_` in the place of `impl
/// Trait`.
pub(crate) fn output(signature: &Signature) -> Type {
    match &signature.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => {
            let mut ty = (**ty).clone();
            infer(&mut ty);
            ty
        }
    }
}

/// Puts `_` in the place of each `impl Trait`.
fn infer(ty: &mut Type) {
    match ty {
        Type::ImplTrait(_) => *ty = parse_quote!(_),
        Type::Path(path) => path.path.segments.iter_mut().for_each(infer_in_arguments),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(infer),
        Type::Reference(reference) => infer(&mut reference.elem),
        Type::Paren(inner) => infer(&mut inner.elem),
        Type::Group(inner) => infer(&mut inner.elem),
        Type::Array(array) => infer(&mut array.elem),
        Type::Slice(slice) => infer(&mut slice.elem),
        _ => {}
    }
}

fn infer_in_arguments(segment: &mut PathSegment) {
    if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
        for argument in &mut arguments.args {
            if let GenericArgument::Type(ty) = argument {
                infer(ty);
            }
        }
    }
}

/// A call of the body as a closure: `return` and `?` end the body only.
pub(crate) fn called(signature: &Signature, body: &Block) -> TokenStream {
    let output = output(signature);
    quote!((move || -> #output #body)())
}

/// The body as a future. The body of an `async fn` becomes one; any other body runs in the span
/// `span_of_this` and returns one.
pub(crate) fn future(signature: &Signature, body: &Block) -> TokenStream {
    let output = output(signature);
    if signature.asyncness.is_none() {
        return quote!(span_of_this.in_scope(move || -> #output #body));
    }
    // An unreachable `return` in front of the body fixes the result's type, so that results are
    // coerced to it where they are returned, as in the function.
    let known = match &output {
        Type::Never(_) | Type::Infer(_) => None,
        output => Some(output.to_token_stream()),
    };
    let known = known.iter();
    quote!(async move {
        #(
            #[allow(
                unreachable_code,
                clippy::diverging_sub_expression,
                clippy::empty_loop,
                clippy::let_unit_value,
                clippy::let_with_type_underscore,
                clippy::needless_return,
                reason = "it is never run"
            )]
            if false {
                let result: #known = loop {};
                return result;
            }
        )*
        #body
    })
}
