#!/usr/bin/env bash
# Makes the certificates of these tests anew, with the commands that docs/PROTOCOL.md tells operators. They hold for a
# hundred years, so that tests don't end with them. Run it in this directory. Needs openssl 3.
set -euo pipefail
cluster=000000000000000000000000000000c1

authority() { # name
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 36500 \
        -subj "/CN=quorate $1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
node() { # file, node's id, authority, days
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=node-$2" \
        -addext "subjectAltName=DNS:node-$2.$cluster.quorate" -addext extendedKeyUsage=serverAuth,clientAuth
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -out "$1.pem" -days "$4" -copy_extensions copy
    rm "$1.csr"
}

authority authority
authority foreign
# The suite for transports calls its nodes by these names.
for id in 1 2 3 301 601 901 1201; do node "node-$id" "$id" authority 36500; done
# The same node, by an authority that nobody here believes.
node foreign-2 2 foreign 36500
# One that was good for a day, long ago.
node expired-2 2 authority 1
cat > expired.cnf <<END
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
END
: > index.txt
echo 7777 > serial
openssl req -new -key expired-2.key -out expired-2.csr -subj /CN=node-2 \
    -addext "subjectAltName=DNS:node-2.$cluster.quorate" -addext extendedKeyUsage=serverAuth,clientAuth
openssl ca -batch -config expired.cnf -in expired-2.csr -cert authority.pem -keyfile authority.key -notext \
    -startdate 20200101000000Z -enddate 20200102000000Z -out expired-2.pem
rm -f expired.cnf expired-2.csr index.txt* serial* 7777.pem foreign.key authority.key
