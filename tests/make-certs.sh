#!/bin/sh
# tests/make-certs.sh DIRECTORY: makes the certificates of the TLS tests. DIRECTORY/rsa and DIRECTORY/ec (P-256) each
# hold:
#
#     ca.pem           what a test trusts            other-ca.pem   what it does not
#     leaf.key         the key of every leaf
#     good.pem         by ca: localhost, 127.0.0.1 and ::1; valid from 2020 to 2049
#     chain.pem        the same by an intermediate, which follows it in the file
#     other.pem        the same by other-ca
#     wrong-name.pem   by ca: other.example and 192.0.2.1
#     expired.pem      by ca: good, but valid only in 2020
#     future.pem       by ca: good, but valid only from 2060
#     wildcard.pem     by ca: *.db.example, for servers and clients
#     many-names.pem   by ca: seven names
#     no-name.pem      by ca: localhost, but only as its common name
#     client.pem       by ca: good, but for clients only
#     critical.pem     by ca: good, with a critical extension that nobody knows
#     sha1.pem         by ca: good, but signed with SHA-1
#     self-signed.pem  good by itself
#     incomplete.pem   chain without the intermediate
#     disorder.pem     chain with other-ca in the place of the intermediate
#     forged.pem       chain with an intermediate of the right name and another key
#     expired-ca.pem   good by an intermediate that expired in 2020, which follows
#     no-ca.pem        good by good, which follows
#     impostor-ca.pem  the name of ca with another key
#     weak.pem         (rsa only) by ca: good, but for weak.key of 1024 bits
#     p384.pem         (ec only) by ca: good, but for p384.key
set -eu

command -v openssl >/dev/null || tools/apt-install.sh openssl || {
    echo "openssl is missing: install it, for the certificates of the TLS tests" >&2
    exit 1
}

mkdir -p "$1"
cd "$1"
log=$PWD/openssl.log
cat >openssl.cnf <<END
[req]
distinguished_name = name
[name]

[ca]
default_ca = issue
[issue]
database = issued/index
new_certs_dir = issued
default_md = sha256
policy = policy
rand_serial = yes
unique_subject = no
[policy]
commonName = supplied

[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[local]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
[elsewhere]
basicConstraints = CA:FALSE
subjectAltName = DNS:other.example, IP:192.0.2.1
[wildcard]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth, serverAuth
subjectAltName = DNS:*.db.example
[many_names]
basicConstraints = CA:FALSE
subjectAltName = DNS:a.example, DNS:b.example, email:a@example, IP:10.0.0.1, IP:fd00::1, DNS:c.example, DNS:d.example, \
    DNS:e.example
[no_name]
basicConstraints = CA:FALSE
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
[critical]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
1.2.3.4 = critical, ASN1:NULL
END

run_openssl() {
    openssl "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}

# new_key NAME [BITS|CURVE]
new_key() {
    case $kind in
    rsa) run_openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:"${2:-2048}" -out "$1.key" ;;
    ec) run_openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:"${2:-P-256}" -out "$1.key" ;;
    esac
}

# issue FILE ISSUER ISSUER_KEY KEY SUBJECT EXTENSIONS [FROM [TO]]: FILE.pem for KEY.key, signed in the name of
# ISSUER.pem with ISSUER_KEY.key over $digest; self-signed if FILE is ISSUER.
issue() {
    run_openssl req -new -config ../openssl.cnf -key "$4.key" -subj "/CN=$5" -out issued/request
    by="-cert $2.pem"
    [ "$1" != "$2" ] || by=-selfsign
    run_openssl ca -batch -notext -config ../openssl.cnf -md $digest -keyfile "$3.key" $by -in issued/request \
        -extensions "$6" -startdate "${7:-2020}0101000000Z" -enddate "${8:-2049}1231235959Z" -out "$1.pem"
}

digest=sha256
for kind in rsa ec; do
    rm -rf $kind
    mkdir -p $kind/issued
    cd $kind
    : >issued/index
    for key in ca other-ca intermediate leaf; do new_key $key; done
    issue ca ca ca ca 'aiocosmos test CA' authority
    issue other-ca other-ca other-ca other-ca 'another test CA' authority
    issue impostor-ca impostor-ca other-ca other-ca 'aiocosmos test CA' authority
    issue intermediate ca ca intermediate 'aiocosmos test intermediate' authority
    issue false-intermediate ca ca other-ca 'aiocosmos test intermediate' authority
    issue old-intermediate ca ca intermediate 'aiocosmos old intermediate' authority 2020 2020
    issue good ca ca leaf localhost local
    issue incomplete intermediate intermediate leaf localhost local
    cat incomplete.pem intermediate.pem >chain.pem
    cat incomplete.pem other-ca.pem >disorder.pem
    cat incomplete.pem false-intermediate.pem >forged.pem
    issue other other-ca other-ca leaf localhost local
    issue wrong-name ca ca leaf other.example elsewhere
    issue expired ca ca leaf localhost local 2020 2020
    issue future ca ca leaf localhost local 2060 2069
    issue wildcard ca ca leaf db.example wildcard
    issue many-names ca ca leaf a.example many_names
    issue no-name ca ca leaf localhost no_name
    issue client ca ca leaf localhost client
    issue critical ca ca leaf localhost critical
    issue self-signed self-signed leaf leaf localhost local
    issue expired-ca old-intermediate intermediate leaf localhost local
    cat old-intermediate.pem >>expired-ca.pem
    issue no-ca good leaf leaf localhost local
    cat good.pem >>no-ca.pem
    digest=sha1
    issue sha1 ca ca leaf localhost local
    digest=sha256
    case $kind in
    rsa)
        new_key weak 1024
        issue weak ca ca weak localhost local
        ;;
    ec)
        new_key p384 P-384
        issue p384 ca ca p384 localhost local
        ;;
    esac
    rm -r issued
    cd ..
done
