//! SVG that can be read on a light and on a dark page.

use std::fmt::Write;

/// A picture that grows downwards.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

impl Svg {
    /// Text that starts at `x`.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.add(format_args!("<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{text}</text>"));
    }

    /// A line.
    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        self.add(format_args!("<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>"));
    }

    /// A box.
    pub(super) fn rect(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2]) {
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// Dots side by side: lines without a length and with round ends.
    pub(super) fn dots(&mut self, class: &str, xs: impl Iterator<Item = f64>, y: f64) {
        let dots: String = xs.map(|x| format!("M{x:.1} {y:.1}h0")).collect();
        self.add(format_args!("<path class=\"{class}\" d=\"{dots}\"/>"));
    }

    /// A ring or a disc.
    pub(super) fn circle(&mut self, class: &str, x: f64, y: f64) {
        self.add(format_args!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
    }

    /// The whole file.
    pub(super) fn finish(self, title: &str, height: f64) -> String {
        let (title, body) = (escaped(title), self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" x=\".5\" y=\".5\" width=\"{}\" height=\"{:.0}\" rx=\"6\"/>\n{body}</svg>\n",
            WIDTH - 1.0,
            height - 1.0
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a String takes everything");
    }
}

/// As text between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Of every picture.
pub(super) const WIDTH: f64 = 880.0;

/// The picture brings its own page, so it can be read whatever is around it.
const STYLE: &str = "\
:root{--page:#fff;--edge:#d0d7de;--ink:#1f2328;--soft:#59636e;--grid:#e4e8ec;\
--us:#0969da;--kin:#6aa5e8;--them:#8c6a1f;--base:#8b949e;--a:#8250df;--b:#bc4c00;--c:#1a7f37}\
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--edge:#3d444d;--ink:#f0f6fc;--soft:#9198a1;--grid:#262c34;\
--us:#58a6ff;--kin:#3f72ab;--them:#d2a94f;--base:#7d8590;--a:#b58af9;--b:#f0883e;--c:#3fb950}}\
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:var(--ink)}\
.h{font-size:15px;font-weight:600}.n{font-weight:600}.s{fill:var(--soft)}\
.t{fill:var(--soft);font-size:11px;text-anchor:middle}.us{fill:var(--us);font-weight:600}\
.page{fill:var(--page);stroke:var(--edge)}.band{fill:var(--us);opacity:.09}\
path{fill:none;stroke-width:1}.g{stroke:var(--grid)}.one{stroke:var(--us);stroke-width:1.5}\
.wu,.wk,.wt,.wb,.wpa,.wpb,.wpc{stroke-width:2}\
.mu,.mk,.mt,.mb{stroke-width:3}\
.du,.dk,.dt,.db{stroke-width:6;stroke-linecap:round;opacity:.55}\
.wu,.mu,.du{stroke:var(--us)}.wk,.mk,.dk{stroke:var(--kin)}.wt,.mt,.dt{stroke:var(--them)}.wb,.mb,.db{stroke:var(--base)}\
.wpa{stroke:var(--a)}.wpb{stroke:var(--b)}.wpc{stroke:var(--c)}\
.pa{fill:var(--a);stroke:var(--a)}.pb{fill:var(--b);stroke:var(--b)}.pc{fill:var(--c);stroke:var(--c)}\
.oa,.ob,.oc{fill:var(--page);stroke-width:2}.oa{stroke:var(--a)}.ob{stroke:var(--b)}.oc{stroke:var(--c)}";
