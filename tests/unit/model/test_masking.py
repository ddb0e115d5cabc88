"""Credentials never leave a text, and texts without any come back as they are."""

import base64
import re
import time
import tracemalloc

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from volumehealth.model import masking
from volumehealth.model.masking import MASK, hide, mask
from volumehealth.model.text import MESSAGE_BYTES, clean_message, clean_reason

SEEN = {
    "mount -t cifs -o username=a,password=S3cr3t //srv/share /mnt: exit status 32": (
        "mount -t cifs -o username=***,password=*** //srv/share /mnt: exit status 32"
    ),
    "mount -o vers=3.0,password=S3cr3t,ro,uid=1000": "mount -o vers=3.0,password=***,ro,uid=1000",
    "mount -o password=a,b2,vers=3.0,ro": "mount -o password=***,vers=3.0,ro",
    "GET https://user:pw@host/path: 401": "GET https://user:***@host/path: 401",
    "https://user:p@ss@host:8443/x": "https://user:***@host:8443/x",
    "iscsi://user%pw@10.0.0.1/iqn": "iscsi://user%***@10.0.0.1/iqn",
    "//user:pw@srv/share": "//user:***@srv/share",
    'Get "http://10.0.0.1:5000/webapi/entry.cgi?api=SYNO.Core&_sid=Zk3jd93kf&method=list": EOF': (
        'Get "http://10.0.0.1:5000/webapi/entry.cgi?api=SYNO.Core&_sid=***&method=list": EOF'
    ),
    '{"data":{"sid":"Zk3jd93kf","is_portal_port":false}}': '{"data":{"sid":"***","is_portal_port":false}}',
    "isisessid=0c2d-11ee; refused": "isisessid=***; refused",
    "sessionId: Zk3jd93kf": "sessionId: ***",
    "?sess_id=abcdef123456&x=1": "?sess_id=***&x=1",
    "sess-id: abcdef123456": "sess-id: ***",
    "session_id: 12345678-aaaa-bbbb is over": "session_id: *** is over",
    "sid=1234567890/aB+3==; refused": "sid=***; refused",
    "psk NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:": "psk ***",
    "Authorization: Bearer abcdefghijklmnop1": "Authorization: Bearer ***",
    "Authorization: Basic dXNlcjpwdw==": "Authorization: Basic ***",
    "sent basic dXNlcjpwdw== to it": "sent basic *** to it",
    "https://acct.blob.core.windows.net/c?sv=2022&sp=rl&sig=aB%2Fc%3D&se=2026": (
        "https://acct.blob.core.windows.net/c?sv=2022&sp=rl&sig=***&se=2026"
    ),
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc/d+e==;EndpointSuffix=core.windows.net": (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=***;EndpointSuffix=core.windows.net"
    ),
    "mount error: name=admin,secret=AQBxyz==,mds_namespace=fs": "mount error: name=admin,secret=***,mds_namespace=fs",
    '{"user": "a", "password": "S3 cr,\\"3t", "size": 5}': '{"user": "a", "password": ***, "size": 5}',
    'body "{\\"password\\":\\"S3cr3t\\"}"': 'body "{\\"password\\":***}"',
    "{'secret_key': 'x y', 'b': 1}": "{'secret_key': ***, 'b': 1}",
    'secrets:<key:"password" value:"S3cr3t" >': 'secrets:<key:"password" value:*** >',
    "map[password:S3cr3t username:a]": "map[password:*** username:a]",
    "node.session.auth.password = S3cr3t": "node.session.auth.password = ***",
    "rbd map --id admin --password S3cr3t pool/x": "rbd map --id admin --password *** pool/x",
    "password: hunter2": "password: ***",
    "AWS said no to AKIAIOSFODNN7EXAMPLE": "AWS said no to ***",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "aws_secret_access_key=***",
    "iscsiadm -m node -o update -n node.session.auth.password -v S3cr3t: exit status 7": (
        "iscsiadm -m node -o update -n node.session.auth.password -v *** exit status 7"
    ),
    "node.session.auth.password_in = S3cr3t": "node.session.auth.password_in = ***",
    "mount -t cifs -o user=svc%S3cr3t,vers=3.0 //srv/share": "mount -t cifs -o user=svc%***,vers=3.0 //srv/share",
    "mount -o password2=S3cr3t,ro": "mount -o password2=***,ro",
    "smbclient //srv/share -U svc%S3cr3t -c ls": "smbclient //srv/share -U svc%*** -c ls",
    "curl -u admin:S3cr3t https://array/api: 401": "curl -u admin:*** https://array/api: 401",
    "curl --user=admin:S3cr3t x": "curl --user=admin:*** x",
    "sshpass -p S3cr3t ssh root@nas": "sshpass -p *** ssh root@nas",
    'login as "svc" with pass "S3cr3t" failed': 'login as "svc" with pass *** failed',
    "GET /v3: 401, X-Auth-Token: gAAAAABk12": "GET /v3: 401, X-Auth-Token: ***",
    "Set-Cookie: session=abc12; Path=/, x": "Set-Cookie: ***, x",
    "clientSecret: abc~def1": "clientSecret: ***",
    "nvme connect failed: DHHC-1:00:ia6zGodOr4SEG0Zz12==:": "nvme connect failed: ***",
    '{"url":"https://a.blob.core.windows.net/c?sv=2022\\u0026sig=aB2Fc3D\\u0026se=2026"}': (
        '{"url":"https://a.blob.core.windows.net/c?sv=2022\\u0026sig=***\\u0026se=2026"}'
    ),
    "next=%2Fc%3Fsv%3D2022%26sig%3DaB2Fc3D": "next=%2Fc%3Fsv%3D2022%26sig%3D***",
    "mount failed:\\nuser=a\\npass=S3cr3t": "mount failed:\\nuser=a\\npass=***",
    "{ChapUsername:u ChapInitiatorSecret:S3cr3t Igroup:x}": "{ChapUsername:u ChapInitiatorSecret:*** Igroup:x}",
    "<login><password type='plain'>S3cr3t</password></login>": (
        "<login><password type='plain'>***</password></login>"
    ),
    "rbd: map[userID:admin userKey:S3cr3t]": "rbd: map[userID:admin userKey:***",
    "encryption_key=S3cr3t": "encryption_key=***",
    "{User:svc Pass:S3cr3t}": "{User:svc Pass:***",
    "mysql://db, userpwd=S3cr3t": "mysql://db, userpwd=***",
    "password= S3cr3t": "password= ***",
    "'password' => 'S3cr3t'": "'password' => ***",
    '["mount", "--password", "S3cr3t", "x"]': '["mount", "--password", ***, "x"]',
    '["--chap-secret" "S3cr3t"]': '["--chap-secret" ***]',
    "PUT %7B%22password%22%3A%22S3cr3t%22%7D": "PUT %7B%22password%22%3A%22***%22%7D",
    "<vim25:password>S3cr3t</vim25:password>": "<vim25:password>***</vim25:password>",
    "<SessionToken>S3cr3t</SessionToken>": "<SessionToken>***</SessionToken>",
    "refresh_token: aB3dE5fG7h": "refresh_token: ***",
    "GET /x: 401, Private-Token: aB3dE5fG7h": "GET /x: 401, Private-Token: ***",
    "role_id: x, secret_id: aB3dE5fG7h": "role_id: x, secret_id: ***",
    "-----BEGIN RSA PRIVATE KEY----- MIIEpAIBAAK": "-----BEGIN RSA PRIVATE KEY-----***",
    "dump --pw hunter2 now": "dump --pw *** now",
    "sas:Xy12zz89ab is wrong": "sas:*** is wrong",
}

HARMLESS = (
    "iscsiadm: Logging in to [sid: 3, target: iqn.2005-10.org.freenas.ctl:x, portal: 10.0.0.1,3260]",
    "session_id=1234567890 of the initiator",
    "no such session_id=1234567890.",
    '{"sessionId": "1234567890"}, (session_id=1234567890)',
    "sid: unknown-session here",
    "sessid: connection refused",
    "session_id: not-found",
    "SID: S-1-5-21-3623811015-3361044348-30300820-1013 has no access",
    "sid=iqn.2005-10.org.freenas.ctl:x, sid=eui.0025385b21404321, sid: naa.600140512345",
    "the volume's fsid=0f1e2d3c-aaaa is not that of the cluster; residential=no",
    "volume is in a healthy condition",
    "The source path of the volume doesn't exist",
    "rpc error: code = Internal desc = failed to get stats: input/output error",
    'secret "csi-creds" not found',
    'failed to get secret: secrets "csi" is forbidden',
    'MountVolume.SetUp failed for volume "creds" : secret "s3-token" not found',
    "failed to get password: file not found",
    "invalid token: signature is invalid",
    "the token is expired",
    "nodeStageSecret: not found in the StorageClass",
    "password is wrong",
    "Basic authentication failed",
    "Bearer token required, authentication missing",
    "dial tcp 10.0.0.1:443: connect: connection refused",
    "https://host:8080/path@v1 is not there",
    "https://10.0.0.1:443/api: 503",
    "ssh: handshake failed: unix:///csi/csi.sock",
    "nfs://server/export is not mounted",
    "/var/lib/kubelet/pods/0f1c/volumes/kubernetes.io~csi/pvc-1/mount",
    "uid=1000,gid=1000,vers=3.0,rw,relatime",
    "key pool is at 5 %; design=3, config=4, bypass=1, tokens=5, keys=7, secretName=csi, tokenExpirationSeconds=3600",
    "runs as -u 1000:1000 with cookies, user name a:b",
    "pass 2 of 5, pwd is /var/lib, bypass 'x'",
    "host H is not attached to NFS export for filesystem F",
    'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) a-0',
    "user=alice may not, mail a@b.example: quota",
    "health-check has not responded for 12.5 seconds",
    "failed to get secret: csi-secret-1 is not there",
    "invalid token: NotBefore is in 15 minutes",
    "bad secret: default/s3-creds-1",
    "encryption key: missing",
    "the encryption-key of the pool is not there, masterkeys=3",
    "<error>the token expired</error>",
    '["--tokens-per-second", "5"]',
    "50%3A1 of the volume",
    "compass: 3 of 5, bypass: Xy12 and jwts",
    "Basic abc\u017fdef, Basic abc\u212adef",  # letters that equal s and k where capitals do not count
)


@pytest.mark.parametrize(("text", "masked"), SEEN.items(), ids=SEEN.keys())
def test_a_credential_is_masked_and_the_rest_stays(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_comes_back_as_it_is(text: str) -> None:
    assert mask(text) == text


SECRETS = st.text("abcdefghijkABCXYZ0123456789!#$%^*+_-.~/=", min_size=6, max_size=40).filter(
    lambda text: any(char.isdigit() for char in text) and text[0].isalnum() and len(set(text)) > 3
)
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FORMS = (
    "mount -o username=a,password={} //srv/share",
    "mount -o vers=3.0,pass={},ro",
    "smbPassword={} x",
    "secret={},name=a",
    "?token={}&x=1",
    "?sv=1&sig={}",
    "X-Amz-Signature={}&X-Amz-Date=1",
    "AccountKey={};a=b",
    "SharedAccessSignature=sv=1&sig={}",
    "https://user:{}@host/path",
    "https://:{}@host/path",
    '{{"password": "{}"}}',
    '{{"Token":"{}"}}',
    '"{{\\"secretKey\\":\\"{}\\"}}"',
    "{{'private_key': '{}'}}",
    "map[apiKey:{} a:b]",
    "password: {}",
    'passphrase "{}"',
    "auth.password = {}",
    "--secret-key {} --x",
    "Authorization: Bearer {}",
    "Authorization: Token {}",
    'key:"accessKey" value:"{}"',
)


@given(AROUND, st.sampled_from(FORMS), SECRETS, AROUND)
def test_no_secret_survives_in_any_form(before: str, form: str, secret: str, after: str) -> None:
    assume(secret not in before and secret not in after and secret not in form)
    assume(not re.match(r"\d{1,5}(/|$)", secret))  # a port and a path, as far as anybody can tell
    text = f"{before} {form.format(secret)} {after}"
    for seen in (mask(text), clean_message(text)):
        assert secret not in seen
        assert MASK in seen or len(text) > MESSAGE_BYTES // 4


@given(st.text("abc0", min_size=3).filter(lambda name: "0" in name), st.text("xyz1", min_size=8))
def test_basic_credentials_are_masked(user: str, password: str) -> None:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    assert encoded not in mask(f"sent Basic {encoded} there")


@given(
    st.text(max_size=400)
    | st.builds(lambda form, secret: form.format(secret), st.sampled_from(FORMS), SECRETS)
)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize(
    "piece", ["password", "a", "=", "//a:", '\\"', 'key:"', "-----BEGIN ", "password=,", 'token="', "'", "--"]
)
def test_no_text_takes_long(piece: str) -> None:
    text = (piece * 5000)[:4096]
    begun = time.process_time()
    mask(text)
    assert time.process_time() - begun < 0.5


def test_a_secret_in_a_url_that_is_cut_does_not_show() -> None:
    text = "x" * (MESSAGE_BYTES - 20) + " https://user:S3cr3tS3cr3tS3cr3t@host/path"
    assert "S3cr" not in clean_message(text)


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_known", masking._Known())


@pytest.mark.usefixtures("nothing_known")
def test_a_secret_that_was_read_is_masked_where_it_was_seen_before_and_a_short_one_is_any_word() -> None:
    text = "array zq7-unlock-zq7 of pool a1b2c is sealed"
    assert mask(text) == text
    hide(["zq7-unlock", "zq7-unlock-zq7", "a1b2c", ""])
    assert mask(text) == "array *** of pool a1b2c is sealed"


@pytest.mark.usefixtures("nothing_known")
def test_a_secret_that_was_read_is_not_masked_within_a_word() -> None:
    hide(["default", "==pool=="])
    assert mask("defaults of nodefault, and of default_1") == "defaults of nodefault, and of ***_1"
    assert (
        mask("q=default, %3Ddefault%26, said:\\ndefault, a==pool==b")
        == "q=***, %3D***%26, said:\\n***, a***b"
    )


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize(
    "dumped", ['p\\"w\\\\<&\u00e9', 'p\\"w\\\\<&\\u00e9', 'p\\"w\\\\\\u003c\\u0026\u00e9']
)
def test_a_secret_that_was_read_is_masked_as_json_has_it(dumped: str) -> None:
    """As it is, as Python and as Go write it."""
    hide(['p"w\\<&\u00e9'])
    assert mask(f'{{"x":"{dumped}"}}') == '{"x":"***"}'


@pytest.mark.usefixtures("nothing_known")
def test_of_secrets_that_are_read_again_and_again_only_the_last_are_remembered() -> None:
    hide([f"rotated-{number:06}" for number in range(3000)])
    assert mask("rotated-000001 and rotated-002999") == "rotated-000001 and ***"


def test_a_secret_in_a_reason_does_not_show() -> None:
    assert "S3cr3t" not in clean_reason("login failed password=S3cr3t")
    assert "S3cr3t" not in clean_reason("password:S3cr3t")


def test_what_is_remembered_of_harmless_texts_is_small_however_long_they_are() -> None:
    """A driver may send another text of 4,096 characters of four bytes with each answer: an agent has 160 MiB."""
    disks = "\U0001f4be" * 1000
    tracemalloc.start()
    try:
        for number in range(3000):
            assert MASK not in mask(f"{number} {disks}")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


@pytest.mark.parametrize("piece", ["-", "--a-", "--a", "a-", "x-", "_", "user=", "-u "])
def test_no_row_of_one_thing_costs_much_more_than_a_word(piece: str) -> None:
    """Ten thousand volumes with such a text kept a core busy for half an hour: each hyphen was the beginning of a flag."""

    def cost(text: str) -> float:
        begun = time.process_time()
        mask(text)
        return time.process_time() - begun

    head = "password basic authorization user= -u x- cookie < @ -- %3d -v key: \" ' "
    row, word = ((head + one * 4096)[:4096] for one in (piece, "x"))
    assert min(cost(row) for _ in range(5)) < 6 * min(cost(word) for _ in range(5))
