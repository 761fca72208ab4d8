"""Small and large files: two queues and two pools, so that large ones never delay a small one."""
