#!/bin/sh
# Makes an authority for one cluster and a certificate for each node, with openssl.
#
#     examples/node/certificates.sh DIRECTORY CLUSTER NODE...
#
# CLUSTER are the 32 hexadecimal digits of the cluster's id. A node's certificate names it as
# node-NODE.CLUSTER.quorate, and no other node believes it is anybody else. Keep authority.key where no node is.
set -eu
directory=$1 cluster=$2
shift 2
mkdir -p "$directory"
cd "$directory"
if [ ! -f authority.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout authority.key \
        -out authority.pem -subj "/CN=quorate $cluster" -addext "basicConstraints=critical,CA:TRUE" 2> /dev/null
fi
for node in "$@"; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "node-$node.key" -out "node-$node.csr" \
        -subj "/CN=node-$node" 2> /dev/null
    printf 'subjectAltName=DNS:node-%s.%s.quorate\nextendedKeyUsage=serverAuth,clientAuth\n' "$node" "$cluster" > extensions
    openssl x509 -req -in "node-$node.csr" -CA authority.pem -CAkey authority.key -CAcreateserial -days 825 \
        -extfile extensions -out "node-$node.pem" 2> /dev/null
    rm -f "node-$node.csr" extensions
done
