"""The page's one style sheet: no fonts or files from elsewhere; light, dark, phone and paper."""

CSS = """
:root {
  color-scheme: light dark;
  --deep: #101311; --paper: #f7f6f2; --card: #fffefb; --ink: #191d1a; --muted: #626a64; --rule: #dcdbd3;
  --accent: #0d6b4a;
  --good: #0d6b4a; --bad: #b3261e; --wait: #8a5a00;
  --s1: #0072b2; --s2: #d55e00; --s3: #00875f; --s4: #a8558a; --s5: #2a8fc7; --s6: #a97800;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121513; --card: #191d1a; --ink: #e9ebe6; --muted: #9aa39c; --rule: #343b36; --accent: #5fc79c;
    --good: #5fc79c; --bad: #ff8f85; --wait: #e8b04a;
    --s1: #5fb4ea; --s2: #f08a4b; --s3: #4fc79b; --s4: #e09bc6; --s5: #9ad3f5; --s6: #e8b04a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
}
.page { max-width: 1120px; margin: 0 auto; padding: 40px 32px 72px; }
.overline {
  margin: 0; color: var(--accent); font-size: 12px; font-weight: 600; letter-spacing: .09em;
  text-transform: uppercase;
}
h1 {
  margin: 6px 0 4px; font-size: 40px; line-height: 1.12; letter-spacing: -.022em; font-weight: 650;
  overflow-wrap: anywhere;
}
.lede { margin: 0; max-width: 68ch; color: var(--muted); }
.figures {
  display: grid; grid-template-columns: 1.15fr 1.7fr 1fr 1fr; gap: 0; margin: 32px 0 0;
  border-top: 2px solid var(--ink);
}
.figures > div { padding: 14px 20px 0; border-left: 1px solid var(--rule); min-width: 0; }
.figures > div:first-child { padding-left: 0; border-left: 0; }
.figures dt { color: var(--muted); font-size: 13px; }
.figures dd {
  margin: 2px 0 0; font-size: clamp(22px, 2.5vw, 30px); white-space: nowrap; line-height: 1.2;
  font-weight: 600; letter-spacing: -.02em; font-variant-numeric: tabular-nums;
}
.figures dd:not(.sub) { display: flex; align-items: flex-end; min-height: 50px; }
.figures > div:first-child dd:not(.sub) {
  font-size: clamp(36px, 3.9vw, 46px); line-height: 1.05; letter-spacing: -.03em;
}
.figures dd.sub {
  font-size: 13px; white-space: normal; font-weight: 400; letter-spacing: 0; color: var(--muted);
  line-height: 1.45;
}
.unit {
  margin-left: 5px; padding-bottom: 4px; font-size: 15px; font-weight: 500; letter-spacing: 0;
  color: var(--muted);
}
section {
  display: grid; grid-template-columns: 208px minmax(0, 1fr); gap: 8px 32px; margin-top: 40px;
  padding-top: 18px; border-top: 1px solid var(--rule);
}
section > header h2 { margin: 0; font-size: 18px; line-height: 1.3; letter-spacing: -.01em; font-weight: 620; }
section > header p { margin: 6px 0 0; color: var(--muted); font-size: 13px; line-height: 1.5; }
h3 { margin: 22px 0 6px; font-size: 14px; font-weight: 620; }
.body > :first-child, .body > h3:first-child { margin-top: 0; }
figure { margin: 0 0 18px; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
figure svg text {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial,
    sans-serif !important;
  font-variant-numeric: tabular-nums;
}
svg.narrow { display: none !important; }
figcaption, .legend { color: var(--muted); font-size: 13px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 0 0 6px; padding: 0; list-style: none; }
.legend i {
  display: inline-block; width: 18px; height: 0; border-top: 3px solid; vertical-align: 4px;
  margin-right: 7px;
}
.legend i.ring { width: 11px; height: 11px; border: 2px solid; border-radius: 50%; vertical-align: -1px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th {
  padding: 0 14px 6px 0; color: var(--muted); font-size: 12.5px; font-weight: 500; text-align: left;
  vertical-align: bottom; border-bottom: 1px solid var(--ink);
}
td { padding: 7px 14px 7px 0; vertical-align: top; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
th.n, td.n { text-align: right; white-space: nowrap; }
tr.noted td:last-child { width: 1%; }
tr.noted td { padding-bottom: 0; border-bottom: 0; }
tr.below td { padding-top: 0; color: var(--muted); font-size: 13px; line-height: 1.45; }
td small, .note { color: var(--muted); font-size: 13px; font-weight: 400; }
td small { display: block; line-height: 1.4; }
.none { color: var(--muted); }
code, .mono {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: .9em;
  overflow-wrap: anywhere;
}
pre {
  margin: 0; padding: 12px 14px; background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px;
}
.bar {
  display: block; min-width: 90px; height: 9px; margin-top: 6px; background: var(--rule);
  border-radius: 2px; overflow: hidden;
}
.bar i { display: block; height: 100%; background: var(--s1); border-radius: 2px; }
.meter {
  display: flex; height: 12px; margin: 7px 0 5px; background: var(--rule); border-radius: 3px;
  overflow: hidden;
}
.meter i { display: block; height: 100%; min-width: 2px; background: var(--accent); }
.meter i.code { background: var(--s6); }
.meter.over i { background: var(--bad); }
.status { white-space: nowrap; font-weight: 600; }
.status.pass { color: var(--good); }
.status.fail { color: var(--bad); }
.status.open { color: var(--wait); }
.status.off { color: var(--muted); font-weight: 400; }
.flag { color: var(--bad); font-weight: 600; }
dl.pairs { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 20px; margin: 0 0 14px; }
dl.pairs dt { color: var(--muted); } dl.pairs dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 48px; padding-top: 14px; border-top: 1px solid var(--rule); color: var(--muted); font-size: 13px; }
@media (max-width: 760px) {
  .page { padding: 24px 16px 48px; }
  h1 { font-size: 30px; }
  .figures { grid-template-columns: 1fr 1fr; margin-top: 22px; }
  .figures > div { padding: 12px 0 12px 14px; border-bottom: 1px solid var(--rule); }
  .figures > div:first-child, .figures > div.wide { grid-column: 1 / -1; padding-left: 0; border-left: 0; }
  .figures > div.wide + div { padding-left: 0; border-left: 0; }
  .figures dd:not(.sub) { font-size: 25px; }
  .figures > div:first-child dd:not(.sub) { font-size: 40px; }
  .figures dd:not(.sub) { min-height: 0; }
  section { display: block; margin-top: 30px; padding-top: 14px; }
  section > header { margin-bottom: 12px; }
  svg.wide { display: none !important; } svg.narrow { display: block !important; }
  table { font-size: 13px; } th { font-size: 12px; }
  td, th { padding-right: 10px; }
  .bar { min-width: 48px; }
  td.fold, th.fold { display: none; }
  dl.pairs { grid-template-columns: 1fr; gap: 0; } dl.pairs dd { margin-bottom: 8px; }
}
@media print {
  :root {
    color-scheme: light; --paper: #fff; --card: #fff; --ink: #000; --muted: #4d4d4d; --rule: #ccc; --accent: #0d6b4a;
    --good: #0d6b4a; --bad: #b3261e; --wait: #8a5a00;
    --s1: #0072b2; --s2: #d55e00; --s3: #00875f; --s4: #a8558a; --s5: #2a8fc7; --s6: #a97800;
  }
  @page { margin: 16mm 14mm; }
  body { font-size: 10.5pt; }
  .page { max-width: none; padding: 0; }
  h1 { font-size: 24pt; }
  section { grid-template-columns: 1fr; margin-top: 16pt; }
  svg.wide { display: block !important; } svg.narrow { display: none !important; }
  figure, tr, .figures { break-inside: avoid; } section > header { break-after: avoid; }
  table { font-size: 9.5pt; }
  .bar, .bar i, .meter, .meter i, .legend i { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
