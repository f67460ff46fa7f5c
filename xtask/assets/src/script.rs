//! Scripts: ES modules, each minified on its own, with its references rewritten and a map back.
//!
//! What a module refers to (`import`, `export … from`, `import("…")`, `new URL("…",
//! import.meta.url)`) is found first: modules are named after what they hold, names of what they
//! import included, so those come before them. Modules that import one another get their names
//! together.

use std::path::PathBuf;

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Argument, CallExpression, DebuggerStatement, ExportAllDeclaration, ExportFromDeclaration,
    Expression, ImportDeclaration, ImportExpression, NewExpression, Program, StringLiteral,
    TemplateElementValue, TemplateLiteral,
};
use oxc_ast_visit::{VisitMut, walk_mut};
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions, LegalComment};
use oxc_diagnostics::OxcDiagnostic;
use oxc_minifier::{Minifier, MinifierOptions};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;

use crate::problem::Problem;

/// A reference in a module, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) address: String,
    /// In bytes of the source.
    pub(crate) offset: usize,
    /// `import` and its like, where a bare name means a package.
    pub(crate) is_import: bool,
}

/// What a module refers to. Fails with everything that is wrong with its syntax.
pub(crate) fn references(shown: &str, text: &str) -> Result<Vec<Reference>, Vec<Problem>> {
    let allocator = Allocator::default();
    let mut program = parse(&allocator, shown, text)?;
    let mut found = Vec::new();
    let mut collect = |address: &str, offset: u32, is_import: bool| {
        found.push(Reference { address: address.to_owned(), offset: offset as usize, is_import });
        None
    };
    let mut visitor = Visitor { each: &mut collect, allocator: &allocator, wrong: Vec::new() };
    visitor.visit_program(&mut program);
    let wrong = visitor.wrong.iter();
    let problem = |(offset, message): &(u32, &str)| {
        Problem::at_offset(shown, text, *offset as usize, message)
    };
    let problems: Vec<Problem> = wrong.map(problem).collect();
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// Minifies a module: the script and its map. `rename` gives the new address of a reference.
pub(crate) fn minify(
    path: &str,
    shown: &str,
    text: &str,
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, String), Vec<Problem>> {
    let allocator = Allocator::default();
    let mut program = parse(&allocator, shown, text)?;
    let mut each = |address: &str, _, _| rename(address);
    let mut visitor = Visitor { each: &mut each, allocator: &allocator, wrong: Vec::new() };
    visitor.visit_program(&mut program);
    let minified = Minifier::new(MinifierOptions::default()).minify(&allocator, &mut program);
    let options = CodegenOptions {
        minify: true,
        // Licences ask to be kept.
        comments: CommentOptions { legal: LegalComment::Inline, ..CommentOptions::disabled() },
        source_map_path: Some(PathBuf::from(format!("assets/{path}"))),
        ..CodegenOptions::default()
    };
    let printed = Codegen::new()
        .with_options(options)
        .with_scoping(minified.scoping)
        .with_private_member_mappings(minified.class_private_mappings)
        .build(&program);
    let map = printed.map.map(|map| map.to_json_string()).unwrap_or_default();
    Ok((printed.code, map))
}

fn parse<'a>(
    allocator: &'a Allocator,
    shown: &str,
    text: &'a str,
) -> Result<Program<'a>, Vec<Problem>> {
    let parsed = Parser::new(allocator, text, SourceType::unambiguous()).parse();
    let problem = |diagnostic: &OxcDiagnostic| match diagnostic.labels.first() {
        Some(label) => {
            Problem::at_offset(shown, text, label.offset() as usize, &diagnostic.message)
        }
        None => Problem::of_file(shown, diagnostic.message.clone()),
    };
    let mut problems: Vec<Problem> = parsed.diagnostics.iter().map(problem).collect();
    if problems.is_empty() {
        let checked = SemanticBuilder::new().with_check_syntax_error(true).build(&parsed.program);
        problems.extend(checked.diagnostics.iter().map(problem));
    }
    if problems.is_empty() { Ok(parsed.program) } else { Err(problems) }
}

/// Called with each reference, its offset and whether it is an import: the new address, where it
/// gets one.
type Each<'v> = &'v mut dyn FnMut(&str, u32, bool) -> Option<String>;

struct Visitor<'a, 'v> {
    each: Each<'v>,
    allocator: &'a Allocator,
    /// What must not be there: offset, words.
    wrong: Vec<(u32, &'static str)>,
}

const DEBUGGER: &str = "`debugger` is left here";
const PIECES: &str =
    "an address of pieces cannot be followed, so it would name nothing; write it out";

impl<'a> Visitor<'a, '_> {
    fn literal(&mut self, literal: &mut StringLiteral<'a>, is_import: bool) {
        if let Some(new) = (self.each)(&literal.value, literal.span.start, is_import) {
            literal.value = self.allocator.alloc_str(&new).into();
            literal.raw = None;
        }
    }

    /// A text between backticks that is always the same.
    fn template(&mut self, template: &mut TemplateLiteral<'a>, is_import: bool) {
        let [text] = &mut template.quasis[..] else {
            if template.quasis.first().is_some_and(|text| text.value.raw.starts_with('.')) {
                self.wrong.push((template.span.start, PIECES));
            }
            return;
        };
        let address = text.value.cooked.as_ref().unwrap_or(&text.value.raw);
        if let Some(new) = (self.each)(address, template.span.start, is_import) {
            let new = self.allocator.alloc_str(&new);
            text.value = TemplateElementValue { raw: new.into(), cooked: Some(new.into()) };
        }
    }
}

impl<'a> VisitMut<'a> for Visitor<'a, '_> {
    fn visit_import_declaration(&mut self, it: &mut ImportDeclaration<'a>) {
        self.literal(&mut it.source, true);
        walk_mut::walk_import_declaration(self, it);
    }

    fn visit_export_from_declaration(&mut self, it: &mut ExportFromDeclaration<'a>) {
        self.literal(&mut it.source, true);
        walk_mut::walk_export_from_declaration(self, it);
    }

    fn visit_export_all_declaration(&mut self, it: &mut ExportAllDeclaration<'a>) {
        self.literal(&mut it.source, true);
        walk_mut::walk_export_all_declaration(self, it);
    }

    fn visit_import_expression(&mut self, it: &mut ImportExpression<'a>) {
        match &mut it.source {
            Expression::StringLiteral(literal) => self.literal(literal, true),
            Expression::TemplateLiteral(template) => self.template(template, true),
            other if begins_with_dot(other) => self.wrong.push((it.span.start, PIECES)),
            _ => {}
        }
        walk_mut::walk_import_expression(self, it);
    }

    fn visit_new_expression(&mut self, it: &mut NewExpression<'a>) {
        if matches!(&it.callee, Expression::Identifier(name) if name.name == "URL")
            && let [address, base] = &mut it.arguments[..]
            && is_module_address(base)
        {
            match address {
                Argument::StringLiteral(literal) => self.literal(literal, false),
                Argument::TemplateLiteral(template) => self.template(template, false),
                other if other.as_expression().is_some_and(begins_with_dot) => {
                    self.wrong.push((it.span.start, PIECES));
                }
                _ => {}
            }
        }
        walk_mut::walk_new_expression(self, it);
    }

    fn visit_call_expression(&mut self, it: &mut CallExpression<'a>) {
        if is_resolve(&it.callee)
            && let [Argument::StringLiteral(literal)] = &mut it.arguments[..]
        {
            self.literal(literal, true);
        }
        walk_mut::walk_call_expression(self, it);
    }

    fn visit_debugger_statement(&mut self, it: &mut DebuggerStatement) {
        self.wrong.push((it.span.start, DEBUGGER));
    }
}

/// `import.meta.resolve`.
fn is_resolve(callee: &Expression<'_>) -> bool {
    let Expression::StaticMemberExpression(member) = callee else { return false };
    member.property.name == "resolve" && matches!(member.object, Expression::ImportMeta(_))
}

/// A sum of texts that begins like the address of a file beside.
fn begins_with_dot(expression: &Expression<'_>) -> bool {
    match expression {
        Expression::BinaryExpression(sum) => begins_with_dot(&sum.left),
        Expression::ParenthesizedExpression(inner) => begins_with_dot(&inner.expression),
        Expression::StringLiteral(text) => text.value.starts_with('.'),
        Expression::TemplateLiteral(text) => {
            text.quasis.first().is_some_and(|text| text.value.raw.starts_with('.'))
        }
        _ => false,
    }
}

/// `import.meta.url`.
fn is_module_address(argument: &Argument<'_>) -> bool {
    let Argument::StaticMemberExpression(member) = argument else { return false };
    member.property.name == "url" && matches!(member.object, Expression::ImportMeta(_))
}
