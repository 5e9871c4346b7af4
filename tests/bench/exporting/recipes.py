# ruff: noqa: E501 - programs of other languages, one recipe a line
"""How each program writes the truth: the least code that its users would write, with its defaults unless named.

A recipe reads the truth as JSON (`truth.json`) or from a database, never through CSV.
"""

from __future__ import annotations

import dataclasses
from typing import Final

_PANDAS: Final = "import sys, json, pandas as pd\nd = pd.DataFrame(json.load(open(sys.argv[1])), dtype=object)\nout = sys.argv[2]\n"
_POLARS: Final = (
    "import sys, json, polars as pl\nd = pl.DataFrame(json.load(open(sys.argv[1])))\nout = sys.argv[2]\n"
)
_DUCKDB: Final = (
    "import sys, json, duckdb\nc = duckdb.connect()\nc.execute('create table t(user_id varchar, identifier_id varchar, note varchar)')\n"
    "c.executemany('insert into t values (?,?,?)', [list(r.values()) for r in json.load(open(sys.argv[1]))])\nout = sys.argv[2]\n"
)
_ARROW: Final = "import sys, json, pyarrow as pa, pyarrow.csv as pc\nd = pa.Table.from_pylist(json.load(open(sys.argv[1])))\nout = sys.argv[2]\n"
_CHDB: Final = (
    "import sys, json, chdb\nfrom chdb import session\ns = session.Session()\n"
    "s.query('create table t(user_id Nullable(String), identifier_id Nullable(String), note Nullable(String)) engine=Memory')\n"
    "s.query('insert into t format JSONEachRow ' + ' '.join(json.dumps(r) for r in json.load(open(sys.argv[1]))))\n"
    "def write(form): open(sys.argv[2], 'wb').write(s.query('select * from t', form).bytes())\n"
)
_SPARK: Final = (
    "import sys, json, glob, shutil, pyspark.sql as p\nfrom pyspark.sql.types import *\n"
    "s = p.SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false').getOrCreate()\n"
    "d = s.createDataFrame([tuple(r.values()) for r in json.load(open(sys.argv[1]))], StructType([StructField(n, StringType())"
    " for n in ('user_id', 'identifier_id', 'note')])).coalesce(1)\n"
    "def done():\n    shutil.copy(glob.glob(sys.argv[2] + '.d/part-*')[0], sys.argv[2])\n"
)
_NODE: Final = "const fs = require('fs'); const [, , truth, out] = process.argv; const rows = JSON.parse(fs.readFileSync(truth));\n"
_RUBY: Final = "require 'csv'; require 'json'; rows = JSON.parse(File.read(ARGV[0])); out = ARGV[1]\n"
_PHP: Final = "<?php $rows = json_decode(file_get_contents($argv[1]), true); $f = fopen($argv[2], 'w');\n"
_GO: Final = (
    'package main\nimport ("encoding/csv"; "encoding/json"; "os")\nfunc main() { data, _ := os.ReadFile(os.Args[1]); var rows []map[string]*string\n'
    "json.Unmarshal(data, &rows); f, _ := os.Create(os.Args[2]); w := csv.NewWriter(f); w.UseCRLF = CRLF\n"
    'w.Write([]string{"user_id", "identifier_id", "note"}); at := func(p *string) string { if p == nil { return "" }; return *p }\n'
    'for _, r := range rows { w.Write([]string{at(r["user_id"]), at(r["identifier_id"]), at(r["note"])}) }; w.Flush() }\n'
)
_PERL: Final = (
    "use JSON::PP; use Text::CSV; local $/; open F, '<', $ARGV[0]; my $rows = decode_json(<F>); open my $o, '>:utf8', $ARGV[1];\n"
    'my $c = Text::CSV->new({ binary => 1, eol => "\\n", MORE });\n'
    "$c->print($o, ['user_id', 'identifier_id', 'note']); $c->print($o, [@{$_}{qw(user_id identifier_id note)}]) for @$rows;\n"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """One way in which one program writes the truth.

    Attributes:
        tool: The program, by which its version is found.
        variant: What was asked of it.
        runner: What carries `code` out: `python`, `node`, `sh`, `psql`, `mariadb`, `r`, `ruby`, `php`, `perl`, `go`.
        code: The program, or the command line in which `$TRUTH`, `$OUT` and `$DB` stand for files.
        suffix: Of the file.
        told: What `--quoting` it takes, where it is known which.
    """

    tool: str
    variant: str
    runner: str
    code: str
    suffix: str = "csv"
    told: str | None = None

    @property
    def name(self) -> str:
        """Its name in the table."""
        return f"{self.tool}: {self.variant}"


_BACK: Final = "backslash"
_RFC: Final = "rfc4180"
RECIPES: Final[tuple[Recipe, ...]] = (
    Recipe("pandas", "to_csv", "python", _PANDAS + "d.to_csv(out, index=False)", told=_RFC),
    Recipe("pandas", "to_csv, tab", "python", _PANDAS + "d.to_csv(out, index=False, sep='\\t')", "tsv", _RFC),
    Recipe(
        "pandas",
        "to_csv, escapechar",
        "python",
        _PANDAS + "d.to_csv(out, index=False, escapechar='\\\\', doublequote=False)",
    ),
    Recipe(
        "pandas",
        "to_csv, na_rep NULL",
        "python",
        _PANDAS + "d.to_csv(out, index=False, na_rep='NULL')",
        told=_RFC,
    ),
    Recipe(
        "pandas",
        "to_json, lines",
        "python",
        _PANDAS + "d.to_json(out, orient='records', lines=True)",
        "jsonl",
    ),
    Recipe("polars", "write_csv", "python", _POLARS + "d.write_csv(out)", told=_RFC),
    Recipe(
        "polars",
        "write_csv, always, tab",
        "python",
        _POLARS + "d.write_csv(out, separator='\\t', quote_style='always')",
        "tsv",
        _RFC,
    ),
    Recipe(
        "polars",
        "write_csv, never, tab",
        "python",
        _POLARS + "d.write_csv(out, separator='\\t', quote_style='never')",
        "tsv",
        "none",
    ),
    Recipe("polars", "write_ndjson", "python", _POLARS + "d.write_ndjson(out)", "jsonl"),
    Recipe(
        "DuckDB",
        "COPY csv",
        "python",
        _DUCKDB + "c.execute(f\"copy t to '{out}' (format csv, header)\")",
        told=_RFC,
    ),
    Recipe(
        "DuckDB",
        "COPY csv, tab",
        "python",
        _DUCKDB + "c.execute(f\"copy t to '{out}' (format csv, header, delimiter '\\t')\")",
        "tsv",
        _RFC,
    ),
    Recipe(
        "DuckDB",
        "COPY csv, ESCAPE",
        "python",
        _DUCKDB + "c.execute(f\"copy t to '{out}' (format csv, header, escape '\\\\')\")",
        told=_BACK,
    ),
    Recipe(
        "DuckDB",
        "COPY csv, NULLSTR NULL",
        "python",
        _DUCKDB + "c.execute(f\"copy t to '{out}' (format csv, header, nullstr 'NULL')\")",
        told=_RFC,
    ),
    Recipe("pyarrow", "write_csv", "python", _ARROW + "pc.write_csv(d, out)", told=_RFC),
    Recipe("ClickHouse (chdb)", "CSVWithNames", "python", _CHDB + "write('CSVWithNames')", told=_RFC),
    Recipe("ClickHouse (chdb)", "TSVWithNames", "python", _CHDB + "write('TSVWithNames')", "tsv", _BACK),
    Recipe(
        "ClickHouse (chdb)",
        "TSVWithNamesAndTypes",
        "python",
        _CHDB + "write('TSVWithNamesAndTypes')",
        "tsv",
        _BACK,
    ),
    Recipe(
        "ClickHouse (chdb)",
        "CSVWithNamesAndTypes",
        "python",
        _CHDB + "write('CSVWithNamesAndTypes')",
        told=_RFC,
    ),
    Recipe("ClickHouse (chdb)", "JSONEachRow", "python", _CHDB + "write('JSONEachRow')", "jsonl"),
    Recipe(
        "Spark",
        "csv, header",
        "python",
        _SPARK + "d.write.option('header', True).csv(sys.argv[2] + '.d'); done()",
        told=_BACK,
    ),
    Recipe(
        "Spark",
        "csv, quoteAll",
        "python",
        _SPARK + "d.write.option('header', True).option('quoteAll', True).csv(sys.argv[2] + '.d'); done()",
        told=_BACK,
    ),
    Recipe(
        "Spark",
        "csv, tab",
        "python",
        _SPARK + "d.write.option('header', True).option('sep', '\\t').csv(sys.argv[2] + '.d'); done()",
        "tsv",
        _BACK,
    ),
    Recipe(
        "Spark",
        "csv, escape='\"'",
        "python",
        _SPARK + "d.write.option('header', True).option('escape', '\"').csv(sys.argv[2] + '.d'); done()",
        told=_RFC,
    ),
    Recipe("Spark", "json", "python", _SPARK + "d.write.json(sys.argv[2] + '.d'); done()", "jsonl"),
    Recipe(
        "sqlite3",
        ".mode csv",
        "sh",
        "sqlite3 $DB -header -cmd '.mode csv' 'select * from t' > $OUT",
        told=_RFC,
    ),
    Recipe("sqlite3", "-csv", "sh", "sqlite3 -csv -header $DB 'select * from t' > $OUT", told=_RFC),
    Recipe("sqlite3", "-tabs", "sh", "sqlite3 -tabs -header $DB 'select * from t' > $OUT", "tsv", "none"),
    Recipe("sqlite3", "default (pipes)", "sh", "sqlite3 -header $DB 'select * from t' > $OUT", "txt", "none"),
    Recipe(
        "jq",
        "@csv",
        "sh",
        'jq -r \'(["user_id","identifier_id","note"]),(.[]|[.user_id,.identifier_id,.note])|@csv\' $TRUTH > $OUT',
        told=_RFC,
    ),
    Recipe(
        "jq",
        "@tsv",
        "sh",
        'jq -r \'(["user_id","identifier_id","note"]),(.[]|[.user_id,.identifier_id,.note])|@tsv\' $TRUTH > $OUT',
        "tsv",
        _BACK,
    ),
    Recipe("jq", "-c", "sh", "jq -c '.[]' $TRUTH > $OUT", "jsonl"),
    Recipe("Miller", "csv", "sh", "mlr --ijson --ocsv cat $TRUTH > $OUT", told=_RFC),
    Recipe("Miller", "tsv", "sh", "mlr --ijson --otsv cat $TRUTH > $OUT", "tsv", _BACK),
    Recipe("csvkit", "in2csv of JSON", "sh", "in2csv -I -f json $TRUTH > $OUT", told=_RFC),
    Recipe(
        "awk",
        "tabs from jq",
        "sh",
        'jq -r \'.[]|[.user_id,.identifier_id,(.note//""|gsub("[\\t\\r\\n]";" "))]|join("\\u0001")\' $TRUTH | awk -F\'\\001\' \'BEGIN{OFS="\\t";print "user_id","identifier_id","note"}{print $1,$2,$3}\' > $OUT',
        "tsv",
        "none",
    ),
    Recipe("PostgreSQL", "\\copy csv", "psql", "\\copy t to '$OUT' csv header", told=_RFC),
    Recipe(
        "PostgreSQL",
        "\\copy csv, ESCAPE",
        "psql",
        "\\copy t to '$OUT' with (format csv, header, escape '\\')",
        told=_BACK,
    ),
    Recipe(
        "PostgreSQL",
        "\\copy text, header",
        "psql",
        "\\copy t to '$OUT' with (format text, header)",
        "tsv",
        _BACK,
    ),
    Recipe("PostgreSQL", "psql --csv", "psql", "--csv", told=_RFC),
    Recipe("PostgreSQL", "psql -A, tab", "psql", "-A -F '\t'", "tsv", "none"),
    Recipe("PostgreSQL", "psql -A (pipes)", "psql", "-A", "txt", "none"),
    Recipe("MariaDB", "--batch", "mariadb", "--batch", "tsv", _BACK),
    Recipe("MariaDB", "--batch --raw", "mariadb", "--batch --raw", "tsv", "none"),
    Recipe("MariaDB", "INTO OUTFILE, its header by UNION", "mariadb", "", "tsv", _BACK),
    Recipe(
        "MariaDB",
        "INTO OUTFILE, ENCLOSED BY",
        "mariadb",
        "fields terminated by ',' enclosed by '\"'",
        told=_BACK,
    ),
    Recipe(
        "MariaDB",
        "INTO OUTFILE, ESCAPED BY '\"'",
        "mariadb",
        "fields terminated by ',' enclosed by '\"' escaped by '\"'",
    ),
    Recipe("R", "write.csv", "r", "write.csv(d, out, row.names = FALSE)", told=_RFC),
    Recipe("R", "write.table, comma", "r", "write.table(d, out, sep = ',', row.names = FALSE)"),
    Recipe(
        "R",
        "write.table, tab, quote=FALSE",
        "r",
        "write.table(d, out, sep = '\\t', quote = FALSE, row.names = FALSE)",
        "tsv",
        "none",
    ),
    Recipe("R", "data.table fwrite", "r", "data.table::fwrite(d, out)", told=_RFC),
    Recipe("R", "fwrite, qmethod escape", "r", "data.table::fwrite(d, out, qmethod = 'escape')", told=_BACK),
    Recipe(
        "R",
        "fwrite, quote=FALSE, tab",
        "r",
        "data.table::fwrite(d, out, quote = FALSE, sep = '\\t')",
        "tsv",
        "none",
    ),
    Recipe("R", "readr write_csv", "r", "readr::write_csv(d, out)", told=_RFC),
    Recipe("R", "readr write_tsv", "r", "readr::write_tsv(d, out)", "tsv"),
    Recipe("R", "readr write_excel_csv2", "r", "readr::write_excel_csv2(d, out)", told=_RFC),
    Recipe(
        "csv-stringify",
        "header",
        "node",
        _NODE + "fs.writeFileSync(out, require('csv-stringify/sync').stringify(rows, {header: true}))",
        told=_RFC,
    ),
    Recipe(
        "csv-stringify",
        "escape \\",
        "node",
        _NODE
        + "fs.writeFileSync(out, require('csv-stringify/sync').stringify(rows, {header: true, escape: '\\\\'}))",
        told=_BACK,
    ),
    Recipe(
        "papaparse",
        "unparse",
        "node",
        _NODE + "fs.writeFileSync(out, require('papaparse').unparse(rows))",
        told=_RFC,
    ),
    Recipe(
        "fast-csv",
        "write, headers",
        "node",
        _NODE + "require('fast-csv').write(rows, {headers: true}).pipe(fs.createWriteStream(out))",
        told=_RFC,
    ),
    Recipe(
        "json2csv",
        "parse",
        "node",
        _NODE + "fs.writeFileSync(out, require('json2csv').parse(rows))",
        told=_RFC,
    ),
    Recipe(
        "exceljs",
        "csv",
        "node",
        _NODE
        + "const b = new (require('exceljs').Workbook)(); const s = b.addWorksheet('t'); s.addRow(['user_id', 'identifier_id', 'note']); for (const r of rows) s.addRow(Object.values(r)); b.csv.writeFile(out, {map: v => v})",
        told=_RFC,
    ),
    Recipe(
        "SheetJS",
        "sheet_to_csv",
        "node",
        _NODE
        + "const X = require('xlsx'); fs.writeFileSync(out, X.utils.sheet_to_csv(X.utils.json_to_sheet(rows)))",
        told=_RFC,
    ),
    Recipe(
        "PHP",
        "fputcsv",
        "php",
        _PHP + "fputcsv($f, array_keys($rows[0])); foreach ($rows as $r) fputcsv($f, $r);",
    ),
    Recipe(
        "PHP",
        "fputcsv, escape ''",
        "php",
        _PHP
        + "fputcsv($f, array_keys($rows[0]), ',', '\"', ''); foreach ($rows as $r) fputcsv($f, $r, ',', '\"', '');",
        told=_RFC,
    ),
    Recipe("Perl Text::CSV", "print", "perl", _PERL.replace("MORE", ""), told=_RFC),
    Recipe(
        "Perl Text::CSV", "escape_char \\", "perl", _PERL.replace("MORE", "escape_char => '\\\\'"), told=_BACK
    ),
    Recipe(
        "Ruby csv",
        "generate",
        "ruby",
        _RUBY + "CSV.open(out, 'w') { |c| c << rows[0].keys; rows.each { |r| c << r.values } }",
        told=_RFC,
    ),
    Recipe(
        "Ruby csv",
        "tab, force_quotes",
        "ruby",
        _RUBY
        + "CSV.open(out, 'w', col_sep: \"\\t\", force_quotes: true) { |c| c << rows[0].keys; rows.each { |r| c << r.values } }",
        "tsv",
        _RFC,
    ),
    Recipe("Go encoding/csv", "Writer", "go", _GO.replace("CRLF\n", "false\n"), told=_RFC),
    Recipe("Go encoding/csv", "Writer, UseCRLF", "go", _GO.replace("= CRLF\n", "= true\n"), told=_RFC),
    Recipe(
        "LibreOffice",
        "xlsx of text to csv, UTF-8",
        "sh",
        "soffice --headless -env:UserInstallation=file://$DIR/office --convert-to 'csv:Text - txt - csv (StarCalc):44,34,76' --outdir $DIR $XLSX >/dev/null && cp $DIR/truth.csv $OUT",
        told=_RFC,
    ),
    Recipe("gnumeric", "xlsx of text to csv", "sh", "ssconvert $XLSX $OUT 2>/dev/null", told=_RFC),
)
