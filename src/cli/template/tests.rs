//! Examples by what they mean: first Go's own rules, then what Docker's documentation shows people to write.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Template;

fn data() -> Value {
    json!({
        "Id": "3f2a9c", "Name": "/web", "RestartCount": 3, "Ratio": 0.5, "Nothing": null, "Empty": [],
        "State": {"Status": "running", "Running": true, "Pid": 42, "ExitCode": 0, "Health": null},
        "Args": ["-c", "sleep 1", "x"],
        "Config": {"Labels": {"b.key": "2", "a": "1"}, "Env": ["A=1", "B=2"], "Image": "alpine"},
        "Mounts": [{"Source": "/src", "Destination": "/dst", "RW": true}, {"Source": "/s2", "Destination": "/d2", "RW": false}],
        "NetworkSettings": {
            "Networks": {"web": {"IPAddress": "10.0.0.2"}, "bridge": {"IPAddress": "172.17.0.2"}},
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null}
        }
    })
}

fn render(template: &str) -> Result<String, String> {
    Template::parse(template).and_then(|t| t.render(&data())).map_err(|error| format!("{error:#}"))
}

#[track_caller]
fn all(cases: &[(&str, &str)]) {
    for (template, wanted) in cases {
        assert_eq!(render(template).as_deref(), Ok(*wanted), "{template}");
    }
}

#[test]
fn fields_and_how_values_print() {
    all(&[
        ("", ""),
        ("plain }} text", "plain }} text"),
        ("{{.Id}}", "3f2a9c"),
        ("{{ .State.Status }}|{{$.Name}}", "running|/web"),
        ("{{.State.Pid}} {{.Ratio}} {{.State.Running}}", "42 0.5 true"),
        ("{{.Args}}", "[-c sleep 1 x]"),
        ("{{.Config.Labels}}", "map[a:1 b.key:2]"),
        ("{{.Nothing}}", "<no value>"),
        ("{{.Config.Labels.a}} {{.Config.Labels.missing}}", "1 <no value>"),
        ("{{.NetworkSettings.Networks.bridge.IPAddress}}", "172.17.0.2"),
        ("{{\"q\\tu\\x41\\u00e9\\\"\"}} {{`raw\\n`}} {{'a'}} {{'\\n'}} {{'é'}}", "q\tuAé\" raw\\n 97 10 233"),
        ("{{1_000}} {{-3}} {{0x1F}} {{0b11}} {{017}} {{1e3}} {{1.5}} {{true}}", "1000 -3 31 3 15 1000 1.5 true"),
        ("{{print nil}}", "<nil>"),
        ("{{1e21}} {{1e-7}}", "1e+21 1e-07"),
    ]);
}

#[test]
fn trim_markers_and_comments() {
    all(&[
        ("a  {{- .Id -}}  \n b", "a3f2a9cb"),
        ("a {{/* nothing */}} b", "a  b"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("{{- 3}} {{-3}}", "3 -3"),
        ("{{/*/*/}}x", "x"),
    ]);
}

#[test]
fn choices_loops_and_variables() {
    all(&[
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Empty}}a{{else if .Nothing}}b{{else}}c{{end}}", "c"),
        ("{{if not .State.Health}}none{{end}}", "none"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}y{{end}}", "42y"),
        ("{{with .Nothing}}x{{else with .Id}}{{.}}{{end}}", "3f2a9c"),
        ("{{range .Args}}<{{.}}>{{end}}", "<-c><sleep 1><x>"),
        ("{{range $i, $a := .Args}}{{if $i}}, {{end}}{{$i}}={{$a}}{{end}}", "0=-c, 1=sleep 1, 2=x"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;b.key=2;"),
        ("{{range .Empty}}x{{else}}none{{end}}{{range .Nothing}}x{{else}}none{{end}}", "nonenone"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range .Args}}{{if eq . \"sleep 1\"}}{{break}}{{end}}{{.}}{{end}}", "-c"),
        ("{{range .Args}}{{if eq . \"sleep 1\"}}{{continue}}{{end}}{{.}}{{end}}", "-cx"),
        ("{{$x := 1}}{{range .Args}}{{$x = len .}}{{end}}{{$x}}", "1"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := .State}}{{$x.Status}}", "running"),
    ]);
}

#[test]
fn functions_and_pipelines() {
    all(&[
        ("{{len .Args}} {{len .Id}} {{len .Config.Labels}}", "3 6 2"),
        ("{{index .Args 1}} {{index .Config.Labels \"b.key\"}}", "sleep 1 2"),
        ("[{{index .Config.Labels \"missing\"}}]", "[]"),
        ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{index .NetworkSettings.Ports \"80/tcp\" 0 \"HostPort\"}}", "8080"),
        (
            "{{eq .Id \"3f2a9c\"}} {{eq .RestartCount 1 2 3}} {{ne 1 2}} {{lt 1 2}} {{le \"b\" \"a\"}} {{gt 2.5 2}} {{ge 2 2}}",
            "true true true true false true true",
        ),
        ("{{and .Id .State.Pid}} {{and .Id 0 .Nope}} {{or \"\" 0 \"x\"}} {{not 1}}", "42 0 x false"),
        ("{{print 1 2 \"a\" \"b\" 3}}|{{println .Id 1}}", "1 2ab3|3f2a9c 1\n"),
        (
            "{{json .State.Status}} {{json .Args}} {{json .Nothing}} {{.Id | json}}",
            "\"running\" [\"-c\",\"sleep 1\",\"x\"] null \"3f2a9c\"",
        ),
        ("{{json .Config.Labels}}", "{\"b.key\":\"2\",\"a\":\"1\"}"),
        ("{{join .Args \" \"}}", "-c sleep 1 x"),
        ("{{split .Name \"/\"}} {{index (split .Config.Image \"p\") 1}}", "[ web] ine"),
        ("{{lower \"AbC\"}} {{upper .Config.Image}} {{title \"two words\"}}", "abc ALPINE Two Words"),
        ("[{{pad .Id 1 2}}] [{{pad \"\" 1 2}}] {{truncate .Id 3}} {{truncate .Id 99}}", "[ 3f2a9c  ] [] 3f2 3f2a9c"),
        ("{{.Id | upper | printf \"%s-%s\" \"x\"}}", "x-3F2A9C"),
        ("{{slice .Id 1 3}} {{slice .Args 1}}", "f2 [sleep 1 x]"),
        ("{{html \"<a>\"}} {{urlquery \"a b&c\"}}", "&lt;a&gt; a+b%26c"),
    ]);
}

#[test]
fn printf_follows_fmt() {
    all(&[
        (r#"{{printf "%s %v %d %t %%" .Id .Args .State.Pid true}}"#, "3f2a9c [-c sleep 1 x] 42 true %"),
        (r#"{{printf "%q %x %X %o %b %c" "a\n\"" 255 "hi" 8 5 65}}"#, r#""a\n\"" ff 6869 10 101 A"#),
        (r#"{{printf "[%5d|%-5d|%05d|%+d|%x]" 42 42 -42 42 "é"}}"#, "[   42|42   |-0042|+42|c3a9]"),
        (r#"{{printf "[%-8s|%8s|%.2s|%*d]" "ab" "ab" "abcd" 4 7}}"#, "[ab      |      ab|ab|   7]"),
        (r#"{{printf "%.2f %e %g %6.1f" 3.14159 1500.0 0.25 2.55}}"#, "3.14 1.500000e+03 0.25    2.5"),
        (r#"{{printf "%d %s" "x" 1}}"#, "%!d(string=x) %!s(int=1)"),
        (r#"{{printf "%s"}}{{printf "x" 1}}{{printf "%"}}"#, "%!s(MISSING)x%!(EXTRA int=1)%!(NOVERB)"),
        (r#"{{printf "%99999999999999999999d" 1}}"#, "%!(BADWIDTH)"),
        (r#"{{printf "%.999999e" 1.5 | len}}"#, "1106"),
    ]);
}

/// From Docker's documentation of inspect, ps and formatting, by meaning.
#[test]
fn what_dockers_documentation_shows() {
    all(&[
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "172.17.0.2 10.0.0.2 "),
        (
            "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{with $conf}}{{(index . 0).HostPort}}{{end}} {{end}}",
            " 443/tcp ->   80/tcp -> 8080 ",
        ),
        ("{{json .Config}}", r#"{"Labels":{"b.key":"2","a":"1"},"Env":["A=1","B=2"],"Image":"alpine"}"#),
        (
            "{{.Name}}: {{.State.Status}}{{if ne 0.0 .Ratio}} (restarted {{.RestartCount}} times){{end}}",
            "/web: running (restarted 3 times)",
        ),
        ("{{range .Mounts}}{{.Source}}:{{.Destination}}{{if not .RW}}:ro{{end}}\n{{end}}", "/src:/dst\n/s2:/d2:ro\n"),
        (r#"{{join .Args " , "}}"#, "-c , sleep 1 , x"),
        (r#"{{range .Config.Env}}{{index (split . "=") 0}} {{end}}"#, "A B "),
        ("{{- range $i, $m := .Mounts -}}\n{{- if $i}}, {{end -}}\n{{$m.Destination}}\n{{- end}}", "/dst, /d2"),
    ]);
}

#[test]
fn mistakes_are_told_in_dockers_words() {
    for (template, wanted) in [
        ("{{.Foo}}", "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo"),
        ("a\n{{ .State.Foo }}", "template: :2:3: executing \"\" at <.State.Foo>: can't evaluate field Foo"),
        ("{{.Id.Foo}}", "can't evaluate field Foo in type string"),
        ("{{.State.Health.Status}}", "nil pointer evaluating interface {}.Status"),
        ("{{index .Args 9}}", "error calling index: index out of range: 9"),
        ("{{len 3}}", "error calling len: len of type int"),
        ("{{eq .Id 3}}", "incompatible types for comparison"),
        ("{{lt .Args 3}}", "invalid type for comparison"),
        ("{{range .Id}}{{end}}", "range can't iterate over 3f2a9c"),
        ("{{.Id 3}}", "Id has arguments but cannot be invoked as function"),
        ("{{join .Args}}", "wrong number of args for join: want 2 got 1"),
        ("{{.Foo", "template parsing error: template: :1: unclosed action"),
        ("{{nope .}}", "function \"nope\" not defined"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{if .Id}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if}}x{{end}}", "missing value for if"),
        ("{{}}", "missing value for command"),
        ("{{.Id | 3}}", "non executable command in pipeline stage 2"),
        ("{{\"x}}", "unterminated quoted string"),
        ("{{(.Id}}", "unclosed left paren"),
        ("{{.Id)}}", "unexpected right paren"),
        ("{{/* x }}", "unclosed comment"),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{1x}}", "bad number syntax"),
        ("{{define \"x\"}}{{end}}", "{{define}} is not supported"),
        ("{{!}}", "unexpected '!' in command"),
    ] {
        let error = render(template).expect_err(template);
        assert!(error.contains(wanted), "{template}: {error}");
    }
}

#[test]
fn nesting_has_a_limit_and_long_templates_have_none() {
    let nested = |n: usize| format!("{}{}{}", "{{if true}}".repeat(n), "x", "{{end}}".repeat(n));
    assert_eq!(render(&nested(99)).as_deref(), Ok("x"));
    assert!(render(&nested(10_000)).unwrap_err().contains("nested too deeply"));
    let parentheses = format!("{{{{{}1{}}}}}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(render(&parentheses).unwrap_err().contains("nested too deeply"));
    assert_eq!(render(&"{{.Id}}".repeat(10_000)).unwrap().len(), 60_000);
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(template in r#"(\{\{-? ?|\}\}| -\}\}|[.$a-zA-Z"'`|()0-9 :=,%*\\-]|if |range |with |end|else|\.Id|\.Args|index |printf |json |slice |pad |é|/\*|\*/){0,40}"#) {
        let _ = render(&template);
    }

    #[test]
    fn no_action_makes_it_panic(action in r#"(\.Id|\.Args|\.State|\$|\.| |\||\(|\)|"%?[a-z0-9.*+#-]{0,5}"|-?[0-9]{1,20}|index |printf |slice |pad |truncate |split |join |len |eq |lt |and |or |title |html ){0,12}"#) {
        let _ = render(&format!("{{{{{action}}}}}"));
    }

    #[test]
    fn text_without_braces_is_itself(text in "[^{]{0,60}") {
        prop_assert_eq!(render(&text), Ok(text));
    }

    #[test]
    fn any_string_survives_quoting(text in any::<String>()) {
        let value = json!({ "Text": text });
        prop_assert_eq!(Template::parse("{{.Text}}").unwrap().render(&value).unwrap(), text.clone());
        let quoted = Template::parse("{{json .Text}}").unwrap().render(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }
}
