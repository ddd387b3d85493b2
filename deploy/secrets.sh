# Functions of deploy/new-env and deploy/upgrade-secrets.
#
# Compose mounts a file with the mode and the owner that it has on the host. Containers read them by the group
# ADDERWORKS_SECRETS_GROUP, which jobs do not have; on the host only the operator can enter the folder.

SECRETS=${ADDERWORKS_SECRETS:-secrets}
GROUP=$(id -g)
if [ "$GROUP" = 0 ]; then
  GROUP=10001 # root's group is no group to lend; this is the image's own
fi

make_folder() {
  mkdir -p "$SECRETS"
  chmod 700 "$SECRETS"
}

random_hex() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

write_secret() { # NAME, the secret on stdin
  cat >"$SECRETS/$1"
  chgrp "$GROUP" "$SECRETS/$1"
  chmod 640 "$SECRETS/$1"
}

random_of() { # ALPHABET LENGTH
  LC_ALL=C tr -dc "$1" </dev/urandom | head -c "$2"
}

# adw_<key id>_<secret>_<check>: the check is the CRC-32 of what stands before it (gzip's trailer has it), in base 62.
operator_key() {
  text="adw_$(random_of 0-9a-z 26)_$(random_of a-z2-7 40)"
  number=$(printf %s "$text" | gzip -c | tail -c 8 | od -An -N4 -tu1 | awk '{ printf "%.0f", $1 + 256 * ($2 + 256 * ($3 + 256 * $4)) }')
  digits=
  for _ in 1 2 3 4 5 6; do
    rest=$((number % 62))
    number=$((number / 62))
    digits=$(printf %s 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz | cut -c $((rest + 1)))$digits
  done
  printf %s "${text}_$digits"
}
