"""The two texts that every bundle of evidence carries: how to read it, and the script that checks."""

README = """\
Evidence for {label} of {system}, version id {id}

Check it first, offline, with public tools only (sha256sum or shasum, ssh-keygen 8.9 or newer):

    sh verify.sh [HOST_KEY.pub]

HOST_KEY.pub is the public key of the registry's host as you know it from elsewhere, such as
`host_key.pub` beside what is published. Without it the bundle is checked against the key that it
brings along, which proves that it is whole, not who made it. The script is part of the bundle, too:
read it first, or run one that you have kept.

    statement.json      in-toto statement v1: what this is about and what is claimed, signed in
                        statement.json.sig (ssh-keygen, namespace lockgate, signer lockgate-host)
    SHA256SUMS          every other file; the statement names its digest under `sums`
    definition.json     RFC 8785 bytes of the definition; their SHA-256 is the definition digest,
                        and every file of the version is named in them with its SHA-256
    version.json        RFC 8785 bytes that the version id is the SHA-256 of
    record.json         label, owner, registrar, reason and time of the registration
    runs/ID.json        a run and how it ended: metrics with intervals, errors, what it ran on
    runs/ID.answers.jsonl   every answer: case, scores, latency; output and error by SHA-256;
                        the SHA-256 of the file is the run's `answers_digest`
    runs/ID.outputs.jsonl   the texts of outputs and errors, where they were asked for
    suites/DIGEST.json  how the suite scores
    decisions/ID/       decision.json with every finding and its numbers; findings.json, whose
                        SHA-256 stands in what reviewers signed; each word that was said as
                        NAME.WORD.txt, its signature, and the signers file it is checked against
    deployments.json    every attempt to make it live: by whom, on which decision, how it ended,
                        and whether it came in past the gate (`is_ungated`)
    quarantines.json    quarantines in force when this was written
    policy/             the policy each decision followed, and the one that is applied
    receipts/           the signed receipt of each environment where this version is live
    files/              the version's files, where they were asked for
"""

UNSIGNED = """
NOT SIGNED: the registry's host had no key when this was written. verify.sh shows that the bundle is
whole, and nobody vouches for it: it then ends with exit code 2.
"""

VERIFY = r"""#!/bin/sh
# Checks this bundle offline: sh verify.sh [HOST_KEY.pub]
# Needs ssh-keygen (OpenSSH 8.9 or newer) and sha256sum or shasum.
# Exit code 0: everything holds. 1: something does not, and is named. 2: all holds, none is signed.
LC_ALL=C
TZ=UTC
export LC_ALL TZ
trusted=
if [ $# -gt 0 ]; then
    trusted=$(sed -n 's/^\([a-z0-9@.-]* AAAA[A-Za-z0-9+\/=]*\).*/\1/p' "$1" | head -n 1)
    [ -n "$trusted" ] || { echo "WRONG  $1: no public key"; exit 1; }
fi
cd "$(dirname "$0")" || exit 1
bad=0
if command -v sha256sum >/dev/null 2>&1; then
    sum() { sha256sum "$@"; }
else
    sum() { shasum -a 256 "$@"; }
fi
command -v ssh-keygen >/dev/null 2>&1 || { echo "WRONG  ssh-keygen is not on the PATH"; exit 1; }
wrong() { echo "WRONG  $1"; bad=1; }
digest() { sum <"$1" | cut -c1-64; }
signed() { # text, signature, signers, name, time
    ssh-keygen -Y verify -n lockgate -I "$4" -s "$2" -f "$3" ${5:+-O verify-time=$5} \
        <"$1" >/dev/null 2>&1
}

# 1. every byte is as SHA256SUMS says, and there is no file besides
failed=$(sum -c SHA256SUMS 2>/dev/null | grep -v ': OK$')
if [ -n "$failed" ]; then
    echo "$failed" | sed 's/^/WRONG  /'
    bad=1
fi
listed=$(find . ! -type d | sort | while IFS= read -r file; do
    case $file in ./SHA256SUMS | ./statement.json | ./statement.json.sig) continue ;; esac
    cut -c67- SHA256SUMS | grep -qxF -e "$file" || echo "WRONG  $file: not in SHA256SUMS"
done)
if [ -n "$listed" ]; then
    echo "$listed"
    bad=1
fi

# 2. the statement names SHA256SUMS, the definition and the version
grep -qF "\"sums\":\"$(digest SHA256SUMS)\"" statement.json ||
    wrong "SHA256SUMS: not the one that statement.json names"
definition=$(digest definition.json)
grep -qF "\"definition\":\"$definition\"" version.json ||
    wrong "definition.json: $definition is not the definition digest in version.json"
grep -qF "\"definition\":\"$definition\"" statement.json ||
    wrong "definition.json: $definition is not the definition digest in statement.json"
version=$(digest version.json)
grep -qF "\"version\":\"$version\"" statement.json ||
    wrong "version.json: $version is not the version id in statement.json"
for file in $(cut -c67- SHA256SUMS | grep '^\./files/' | tr ' ' '?'); do
    [ -f "$file" ] || continue
    grep -qF "\"$(digest "$file")\"" definition.json || wrong "$file: not in definition.json"
done

# 3. every run has the answers that it ended with
for file in runs/*.answers.jsonl; do
    [ -f "$file" ] || continue
    grep -qF "\"answers_digest\": \"$(digest "$file")\"" "${file%.answers.jsonl}.json" ||
        wrong "$file: not the answers its run ended with"
done

# 4. the host's signature over the statement
unsigned=
if [ -f statement.json.sig ] || [ -f host_signers ]; then
    signed statement.json statement.json.sig host_signers lockgate-host ||
        wrong "statement.json, statement.json.sig: not signed by the key in host_signers"
    if [ -n "$trusted" ]; then
        grep -qF "$trusted" host_signers || wrong "host_signers: not the host key you trust"
    fi
elif [ -n "$trusted" ]; then
    wrong "statement.json: not signed"
else
    unsigned=yes
fi

# 5. what each reviewer signed is about this version, this decision and these findings
for list in decisions/*/approvals.txt; do
    [ -f "$list" ] || continue
    folder=${list%/approvals.txt}
    said=$(while read -r name file at; do
        text=$folder/$file
        grep -qxF "version id: $version" "$text" && grep -qxF "decision: ${folder##*/}" "$text" &&
            grep -qxF "findings: $(digest "$folder/findings.json")" "$text" ||
            echo "WRONG  $text: about something else"
        if [ "$at" = claimed ]; then
            echo "note   $text: $name is claimed, without a key"
        else
            signed "$text" "$text.sig" "$folder/signers" "$name" "$at" ||
                echo "WRONG  $text, $text.sig: not signed by $name"
        fi
    done <"$list")
    if [ -n "$said" ]; then
        echo "$said"
        case $said in *WRONG*) bad=1 ;; esac
    fi
done

# 6. receipts are signed by the same host, and about this version
for file in receipts/*.payload.json; do
    [ -f "$file" ] || continue
    grep -qF "\"version\":\"$version\"" "$file" || wrong "$file: about another version"
    if [ -f "$file.sig" ]; then
        signed "$file" "$file.sig" host_signers lockgate-host ||
            wrong "$file, $file.sig: not signed by the key in host_signers"
    else
        echo "note   $file: not signed"
    fi
done

[ "$bad" = 0 ] || { echo "DOES NOT HOLD: see above"; exit 1; }
echo "holds  definition $definition"
echo "holds  version    $version"
if [ -n "$unsigned" ]; then
    echo "NOT SIGNED: whole, but nobody vouches for it"
    exit 2
fi
echo "signed $(cut -d' ' -f3- host_signers | ssh-keygen -l -f - 2>/dev/null || cat host_signers)"
[ -n "$trusted" ] || echo "note   compare that key with the host's own, or name it: sh verify.sh HOST_KEY.pub"
"""
