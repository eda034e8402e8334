"""Data sets as a pod has them: from a claim, or from a bucket of Google's. Pure."""

from __future__ import annotations

from runtimes.agent.enclosure import INSIDE_UID
from runtimes.machine import DataVolume
from runtimes.pods.labels import Manifest

# GKE, "Cloud Storage FUSE CSI driver": pods with it get the sidecar that mounts; identity by Workload Identity.
_GKE_BUCKETS = "gcsfuse.csi.storage.gke.io"
# By itself the sidecar has no limit of memory, which our quota asks of every container, and 5 GiB of the node's disk
# for what is written and cached: nothing here. A limit alone is also what it asks for ("Configure the sidecar
# container").
_GKE_MOUNTS_BUCKETS = {
    "gke-gcsfuse/volumes": "true",
    "gke-gcsfuse/memory-limit": "512Mi",
    "gke-gcsfuse/ephemeral-storage-limit": "1Gi",
}


def annotations_of(data: DataVolume | None) -> Manifest:
    """What has GKE mount a bucket."""
    return dict(_GKE_MOUNTS_BUCKETS) if data is not None and data.bucket else {}


def volume(data: DataVolume) -> Manifest:
    """The volume of the pod; read-only twice, here and where it is mounted."""
    if data.claim:
        return {"persistentVolumeClaim": {"claimName": data.claim, "readOnly": True}}
    options = {"bucketName": data.bucket, "mountOptions": f"implicit-dirs,uid={INSIDE_UID},gid={INSIDE_UID}"}
    return {"csi": {"driver": _GKE_BUCKETS, "readOnly": True, "volumeAttributes": options}}


def identity(data: DataVolume | None) -> Manifest:
    """A service account of its own only where a bucket must be read as one; no token of it is mounted either way."""
    return {"serviceAccountName": data.service_account} if data is not None and data.service_account else {}
